"""llmkit convert: its report, exit 1 where a check fails; GGUF files wherever a model is asked for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file


@pytest.fixture
def model(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Path:
    """A folder with a tokenizer."""
    folder = tiny_model(vocab_size=600, hidden_size=32, intermediate_size=64)
    for file in byte_level_dir.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "generation_config.json").write_text('{"eos_token_id": [0, 2]}')
    return folder


def test_a_report_is_facts_or_json(llmkit_run: Callable[..., Any], model: Path, tmp_path: Path) -> None:
    text = llmkit_run("convert", model, tmp_path / "a.gguf", "--check")
    assert text.status == 0 and text.err == ""
    assert (
        text.text.startswith(f"{tmp_path}/a.gguf: GGUF file\n") and "logits differ by up to 0 " in text.text
    )
    line = ("convert", model, tmp_path / "b", "--dtype", "bfloat16", "--json")
    report = json.loads(llmkit_run(*line).out)
    assert (report["schema"], report["form"], report["written"]) == ("llmkit.convert/1", "safetensors", True)


def test_a_failed_check_exits_1_with_its_report(
    llmkit_run: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    line = (
        "convert",
        model,
        tmp_path / "a.gguf",
        "--dtype",
        "q8_0",
        "--check",
        "--tolerance",
        "1e-9",
        "--json",
    )
    ended = llmkit_run(*line, "--tolerance", "1e-9")
    assert ended.status == 1 and not json.loads(ended.out)["check"]["passed"]
    assert "nothing was written" in ended.err and not (tmp_path / "a.gguf").exists()


def test_a_dry_run_writes_nothing(llmkit_run: Callable[..., Any], model: Path, tmp_path: Path) -> None:
    report = json.loads(llmkit_run("convert", model, tmp_path / "a.gguf", "-n", "--json").out)
    assert not report["written"] and report["size_bytes"] > 0 and not (tmp_path / "a.gguf").exists()
    assert llmkit_run("convert", model, tmp_path / "a", "--dtype", "q8_0").status == 2


def test_a_gguf_file_is_a_model_everywhere(
    llmkit_run: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "a.gguf"
    assert llmkit_run("convert", model, file).status == 0
    line = ("generate", "The licence", "--max-tokens", "8", "--temperature", "0", "-m")
    assert llmkit_run(*line, file).out == llmkit_run(*line, model).out
    licence = tmp_path / "text.txt"
    licence.write_text("Redistribution and use in source and binary forms\n" * 40)
    ids = llmkit_run("tokenize", "-t", file, "--ids", licence)
    assert ids.status == 0 and ids.out == llmkit_run("tokenize", "-t", model, "--ids", licence).out
    shown = json.loads(llmkit_run("show", file, "--json").out)
    assert (shown["kind"], shown["model_type"], shown["tied"]) == ("gguf", "llama", True)
    parts = {part["name"]: part["parameters"] for part in shown["weights"]["parts"]}
    folder = json.loads(llmkit_run("show", model, "--json").out)
    assert parts == {part["name"]: part["parameters"] for part in folder["weights"]["parts"]}
    assert len(llmkit_run("show", file, "--tensors").text.splitlines()) > 10
    checked = json.loads(llmkit_run("doctor", file, "--json").out)
    assert [one["check"] for one in checked["findings"] if one["level"] != "info"] == []
    bench = llmkit_run("bench", "prefill", file, "--prompt", "8", "--rounds", "1", "--format", "json")
    assert bench.status == 0, bench.err
    estimate = json.loads(llmkit_run("kv-estimate", file, "--json").out)
    assert estimate["weights_source"] == "files"


def test_training_goes_on_from_a_gguf_file(
    llmkit_run: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    file, text, run = tmp_path / "a.gguf", tmp_path / "text.txt", tmp_path / "run"
    text.write_text("Redistribution and use in source and binary forms\n" * 40)
    assert llmkit_run("convert", model, file).status == 0
    line = ("pretrain", "--data", text, "-m", file, "-o", run, "--steps", "1", "--seq-len", "32", "-q")
    ended = llmkit_run(*line)
    assert ended.status == 0, ended.err
    assert json.loads((run / "config.json").read_text())["model_type"] == "llama"
    assert (run / "tokenizer.json").exists()


def test_a_damaged_gguf_file_is_a_finding(
    llmkit_run: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "a.gguf"
    llmkit_run("convert", model, file)
    file.write_bytes(file.read_bytes()[:-64])
    ended = llmkit_run("doctor", file, "--json")
    findings = {one["check"] for one in json.loads(ended.out)["findings"]}
    assert ended.status == 1 and "weights.layout" in findings
    assert llmkit_run("generate", "-m", file, "x").status == 3


def test_another_tokenizer_is_taken_in_place_of_one_that_cannot_be_read(
    llmkit_run: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    file, words = tmp_path / "a.gguf", ("def main", "--max-tokens", 3, "--greedy")
    llmkit_run("convert", model, file)
    expected = llmkit_run("generate", "-m", file, *words)
    content = bytearray(file.read_bytes())
    at = content.index(b"tokenizer.ggml.pre") + len(b"tokenizer.ggml.pre") + 4  # past the type
    size = int.from_bytes(content[at : at + 8], "little")
    content[at + 8 : at + 8 + size] = b"z" * size
    file.write_bytes(content)
    refused = llmkit_run("generate", "-m", file, *words)
    assert refused.status == 2 and "a way of cutting text that is not known" in refused.err
    assert "-t with" in refused.err
    given = llmkit_run("generate", "-m", file, "-t", model, *words)
    assert (given.status, given.out) == (0, expected.out)
    assert llmkit_run("convert", file, tmp_path / "back", "-t", model).status == 0


def test_a_gguf_file_is_cut_by_size_and_generate_reads_it_by_the_first_file(
    llmkit_run: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    done = llmkit_run("convert", model, tmp_path / "a.gguf", "--max-shard-size", "50k")
    assert done.status == 0 and done.text.startswith(f"{tmp_path}/a-00001-of-00003.gguf: GGUF file\n")
    words = ("import os", "--max-tokens", "5", "--temperature", "0")
    whole, cut = (
        llmkit_run("generate", "-m", path, *words) for path in (model, tmp_path / "a-00001-of-00003.gguf")
    )
    assert (cut.status, cut.out) == (0, whole.out)
    again = llmkit_run("convert", model, tmp_path / "a.gguf", "--max-shard-size", "50k")
    assert again.status == 2 and "a-00001-of-00003.gguf: already exists" in again.err


def test_an_adapter_is_converted_shown_and_used_in_either_form(
    llmkit_run: Callable[..., Any], tiny_model: Callable[..., Path], tiny_adapter: Callable[..., Path]
) -> None:
    base, folder = tiny_model(), tiny_adapter()
    file = folder.with_name("a.gguf")
    done = llmkit_run("convert", folder, file, "--dry-run")
    assert done.status == 0 and not file.exists()
    done = llmkit_run("convert", folder, file)
    assert done.status == 0 and done.text.startswith(f"{file}: adapter, GGUF file\n")
    assert f"of       {base} (llama)" in done.text.replace("\n           ", " ")
    shown = llmkit_run("show", file)
    assert "adapter" in shown.text and "rank        2, alpha 8, scaling 4" in shown.text
    assert llmkit_run("doctor", file).status == 0
    refused = llmkit_run("generate", "-m", file, "text")
    assert refused.status == 2 and "an adapter, not a model" in refused.err
    refused = llmkit_run("diff", file, file)
    assert refused.status == 3 and "adapters in GGUF files are not compared" in refused.err
    refused = llmkit_run("kv-estimate", file)
    assert refused.status != 0 and "general.type is 'adapter'" in refused.err
    assert llmkit_run("merge", base, "--adapter", file, "-o", folder.with_name("merged")).status == 0
    assert llmkit_run("convert", file, folder.with_name("back")).status == 0


def test_shards_head_and_form_are_as_asked_for(
    llmkit_run: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    assert llmkit_run("convert", model, tmp_path / "a", "--untie", "--max-shard-size", "50k").status == 0
    untied = json.loads(llmkit_run("show", tmp_path / "a", "--json").out)
    assert (untied["tied"], len(untied["weights"]["files"]) > 1) == (False, True)
    line = ("convert", tmp_path / "a", tmp_path / "b", "--tie", "--to", "safetensors", "--no-tokenizer")
    assert llmkit_run(*line).status == 0
    assert json.loads(llmkit_run("show", tmp_path / "b", "--json").out)["tied"] is True
    assert not (tmp_path / "b" / "tokenizer.json").exists()
    assert llmkit_run("diff", model, tmp_path / "b", "--only", "tensors").status == 0
    wrong = llmkit_run("convert", model, tmp_path / "c", "-t", tmp_path / "none")
    assert wrong.status == 4 and not (tmp_path / "c").exists()


def test_stdout_is_no_place_for_a_model(
    llmkit_run: Callable[..., Any], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (
        ("convert", model, "-"),
        ("quantize", model, "-", "--type", "Q8_0"),
        ("merge", model, model, "--method", "linear", "-o", "-"),
        ("pretrain", "--data", model / "config.json", "-o", "-", "--dry-run"),
    ):
        done = llmkit_run(*words)
        assert (done.status, done.text) == (2, ""), words
        assert done.err == (
            "llmkit: error: -: stdout has the report, and this needs a name\n  hint: name a file or folder\n"
        )
    assert not (tmp_path / "-").exists()


def test_a_check_of_a_model_that_gives_no_numbers_says_so(
    llmkit_run: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"][:] = 3e38  # finite, as its products with the head are not
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    done = llmkit_run("convert", model, tmp_path / "a.gguf", "--check")
    assert (done.status, done.text) == (3, "") and "llmkit doctor MODEL" in done.err
    assert "not finite" in done.err and not (tmp_path / "a.gguf").exists()
