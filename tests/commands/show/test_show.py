"""llmkit show: text, JSON, lists, and what it refuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader

MODEL = "models/stories260K"


def test_a_model_is_text_for_people_and_json_for_programs(
    llmkit_run: Callable[..., Any], shared_data: Path
) -> None:
    text = llmkit_run("show", shared_data / MODEL)
    assert text.status == 0 and text.err == ""
    assert "260,032 parameters" in text.text and "embedding" in text.text
    report = json.loads(llmkit_run("show", shared_data / MODEL, "--json").out)
    assert (report["schema"], report["kind"]) == ("llmkit.show/1", "model")
    assert report["weights"]["parameters"] == 260032


def test_nothing_is_wider_than_80_columns_off_a_terminal(
    llmkit_run: Callable[..., Any], shared_data: Path
) -> None:
    for path in (
        "models/char-gpt-shakespeare",
        "tokenizers/gpt2",
        "tokenizers/t5-small",
        "configs/DeepSeek-V3",
    ):
        for line in llmkit_run("show", shared_data / path).text.splitlines()[1:]:  # the first has the path
            assert len(line) <= 80 or " " not in line.strip()


def test_tensors_are_a_table_or_json_lines(llmkit_run: Callable[..., Any], shared_data: Path) -> None:
    table = llmkit_run("show", shared_data / MODEL, "--tensors").text.splitlines()
    rows = [
        json.loads(line)
        for line in llmkit_run("show", shared_data / MODEL, "--tensors", "--json").out.splitlines()
    ]
    assert len(table) == len(rows) + 1 == 48
    assert rows[0] == {
        **{"name": "model.embed_tokens.weight", "dtype": "F32", "shape": [512, 64], "parameters": 32768},
        **{"size_bytes": 131072, "file": "model.safetensors"},
    }
    assert table[1].split() == ["model.embed_tokens.weight", "F32", "512", "x", "64", "128.0", "KiB"]


def test_the_keys_and_values_of_a_gguf_file_are_those_that_ggufs_reader_finds(
    llmkit_run: Callable[..., Any], shared_data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.gguf"
    assert llmkit_run("convert", shared_data / MODEL, path, "-q").status == 0
    entries = [json.loads(line) for line in llmkit_run("show", path, "--metadata", "--json").out.splitlines()]
    fields = {key: one.contents() for key, one in GGUFReader(path).fields.items()}
    told = {one["key"]: one["value"] for one in entries}
    assert told == {key: one for key, one in fields.items() if not key.startswith("GGUF.")}  # counts
    kinds = {one["key"]: one["type"] for one in entries}
    assert (kinds["llama.block_count"], kinds["tokenizer.ggml.tokens"]) == ("u32", "str[]")
    lines = llmkit_run("show", path, "--metadata").text.splitlines()
    assert lines[0].split() == ["key", "type", "value"] and max(map(len, lines)) <= 80
    assert any("  str[]  512: '<unk>', '<s>'" in line and line.endswith("…") for line in lines)


def test_metadata_of_a_safetensors_file_and_of_what_has_none(
    llmkit_run: Callable[..., Any], shared_data: Path
) -> None:
    done = llmkit_run("show", shared_data / MODEL / "model.safetensors", "--metadata", "--json")
    assert json.loads(done.out) == {"key": "format", "type": "str", "value": "pt"}
    done = llmkit_run("show", shared_data / MODEL, "--metadata")
    assert done.status == 2 and "no keys and values (found: model)" in done.err


def test_a_vocabulary_is_json_lines_of_every_id(llmkit_run: Callable[..., Any], shared_data: Path) -> None:
    pieces = [
        json.loads(line) for line in llmkit_run("show", shared_data / MODEL, "--vocab").out.splitlines()
    ]
    assert [one["id"] for one in pieces] == list(range(512))
    assert pieces[1]["piece"] == "<s>" and pieces[1]["special"] is True


def test_a_chat_template_is_printed_word_for_word_from_a_tokenizer_and_from_a_gguf_file(
    llmkit_run: Callable[..., Any], shared_data: Path, tmp_path: Path
) -> None:
    qwen = shared_data / "tokenizers" / "qwen2"
    template = json.loads((qwen / "tokenizer_config.json").read_text())["chat_template"]
    assert llmkit_run("show", qwen, "--template").text == template + "\n"
    report = json.loads(llmkit_run("show", qwen, "--template", "--json").out)
    assert report == {
        "schema": "llmkit.show-template/1",
        "path": str(qwen),
        "templates": {"default": template},
    }
    model = tmp_path / "model"
    shutil.copytree(shared_data / MODEL, model)
    assert llmkit_run("show", model, "--template").status == 4
    (model / "chat_template.jinja").write_text(template)
    assert llmkit_run("convert", model, tmp_path / "model.gguf", "-q").status == 0
    assert llmkit_run("show", tmp_path / "model.gguf", "--template").text == template + "\n"


def test_a_run_draws_its_curve(
    llmkit_run: Callable[..., Any], tiny_model: Callable[..., Path], write_metrics: Callable[..., Path]
) -> None:
    run = tiny_model("run")
    write_metrics(run / "metrics.jsonl")
    shown = llmkit_run("show", run)
    assert "train loss" in shown.text and "┤" in shown.text and "o valid loss" in shown.text
    assert "\x1b" not in shown.text
    assert "\x1b[" in llmkit_run("show", run, "--color", "always").text


def test_several_paths_have_a_report_each(llmkit_run: Callable[..., Any], shared_data: Path) -> None:
    models = sorted((shared_data / "models").iterdir())
    lines = llmkit_run("show", *models, "--json").out.splitlines()
    assert [json.loads(line)["path"] for line in lines] == [str(one) for one in models]


def test_json_lines_are_read_from_stdin(llmkit_run: Callable[..., Any]) -> None:
    documents = llmkit_run("show", stdin=b'{"text": "abc"}\n{"text": "d"}\n')
    assert documents.status == 0 and documents.text.startswith("stdin: documents")
    metrics = llmkit_run("show", "-", "--json", stdin=b'{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.0}\n')
    assert json.loads(metrics.out)["metrics"]["last_loss"] == 2.0


@pytest.mark.parametrize(
    ("content", "status"), [(b"{", 3), (b"\x89PNG", 3), (b"PK\x03\x04", 3), (b'{"a": 1}', 3), (None, 4)]
)
def test_what_is_no_artefact_ends_with_its_status_and_two_lines(
    llmkit_run: Callable[..., Any], tmp_path: Path, content: bytes | None, status: int
) -> None:
    path = tmp_path / "thing"
    if content is not None:
        path.write_bytes(content)
    ended = llmkit_run("show", path)
    assert (ended.status, ended.out) == (status, b"")
    first, second = ended.err.splitlines()
    assert first.startswith(f"llmkit: error: {path}: ") and second.startswith("  hint: ")


@pytest.mark.parametrize(
    "words",
    [
        ("--tensors", "--vocab"),
        ("--row", "0", "--verify"),
        ("--decode",),
        ("-t", "tok"),
        ("--row", "0", "--decode"),
    ],
)
def test_flags_that_make_no_sense_together_are_wrong_usage(
    llmkit_run: Callable[..., Any], tmp_path: Path, words: tuple[str, ...]
) -> None:
    ended = llmkit_run("show", tmp_path, *words)
    assert ended.status == 2 and len(ended.err.splitlines()) == 2


def test_a_reader_that_leaves_is_a_success(shell: Callable[..., Any], shared_data: Path) -> None:
    ended = shell(f"llmkit show {shared_data / 'tokenizers/gpt2'} --vocab | head -1")
    assert (ended.status, ended.err) == (0, "") and json.loads(ended.out)["id"] == 0


def test_several_runs_are_compared_and_drawn_on_a_page(
    llmkit_run: Callable[..., Any], write_metrics: Callable[..., Path], tmp_path: Path
) -> None:
    runs = [write_metrics(tmp_path / f"{name}.jsonl", steps=steps) for name, steps in (("a", 20), ("b", 40))]
    text = llmkit_run("show", *runs)
    assert text.status == 0 and "lowest validation loss: b.jsonl" in text.text
    report = json.loads(llmkit_run("show", *runs, "--json").out)
    assert (report["schema"], report["best"]) == ("llmkit.show-runs/1", str(runs[1]))
    assert [len(one["train"]) for one in report["runs"]] == [20, 40]
    page = tmp_path / "runs.html"
    assert llmkit_run("show", *runs, "--html", page).status == 0
    assert page.read_text().startswith("<!doctype html>")
    assert "already exists" in llmkit_run("show", *runs, "--html", page).err
    one = llmkit_run("show", runs[0], "--html", page, "--force")
    assert one.status == 0 and one.out == llmkit_run("show", runs[0]).out  # no comparison of one
    assert "<h1>a.jsonl</h1>" in page.read_text()


def test_a_page_is_of_runs_alone(llmkit_run: Callable[..., Any], shared_data: Path, tmp_path: Path) -> None:
    refused = llmkit_run("show", shared_data / MODEL, "--html", tmp_path / "x.html")
    assert refused.status == 2 and "not a training run (found: model)" in refused.err
    assert llmkit_run("show", shared_data / MODEL, "--force").status == 2
    assert llmkit_run("show", shared_data / MODEL, "--html", tmp_path / "x.html", "--tensors").status == 2


def test_a_run_and_another_artefact_are_shown_one_after_the_other(
    llmkit_run: Callable[..., Any], shared_data: Path, write_metrics: Callable[..., Path]
) -> None:
    text = llmkit_run("show", write_metrics(), shared_data / MODEL).text
    assert "metrics.jsonl: metrics" in text and "260,032 parameters" in text and "lr" in text
