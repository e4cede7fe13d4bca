"""llmkit quantize: reports, gates, rows; what is wrong is two lines and nothing is written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import UsageError


@pytest.fixture
def model(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Path:
    """A folder with a tokenizer."""
    folder = tiny_model(vocab_size=600, hidden_size=64, intermediate_size=128)
    for file in byte_level_dir.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.fixture
def line(tmp_path: Path) -> tuple[Any, ...]:
    """Flags for a short text."""
    (tmp_path / "text.txt").write_text("The quick brown fox jumps over it all. " * 300)
    return (
        "-c",
        tmp_path / "text.txt",
        "--calibration-tokens",
        "512",
        "--score-tokens",
        "128",
        "--seq-len",
        "16",
    )


def test_a_report_is_facts_or_json(
    llmkit_run: Callable[..., Any], model: Path, line: tuple[Any, ...], tmp_path: Path
) -> None:
    done = llmkit_run("quantize", model, tmp_path / "a.gguf", "--type", "Q8_0", *line)
    assert done.status == 0, done.err
    assert done.text.startswith(f"{tmp_path}/a.gguf: GGUF file\n") and "KL divergence" in done.text
    report = json.loads(
        llmkit_run("quantize", model, tmp_path / "b", "--type", "int4-g32", *line, "--json").out
    )
    assert (report["schema"], report["container"], report["written"]) == (
        "llmkit.quantize/1",
        "compressed-tensors",
        True,
    )
    assert report["quality"]["kld"] > 0 and (tmp_path / "b" / "model.safetensors").exists()


def test_a_plan_reads_no_text_twice_and_writes_nothing(
    llmkit_run: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    done = llmkit_run("quantize", model, tmp_path / "a.gguf", "--type", "Q8_0", "--dry-run", "--json")
    report = json.loads(done.out)
    assert (report["written"], report["quality"]) == (False, None)
    assert not (tmp_path / "a.gguf").exists()


def test_a_missed_gate_is_status_1_with_its_report(
    llmkit_run: Callable[..., Any], model: Path, line: tuple[Any, ...], tmp_path: Path
) -> None:
    words = ("quantize", model, tmp_path / "a.gguf", "--type", "Q4_0", *line, "--max-kl", "1e-9")
    done = llmkit_run(*words)
    assert done.status == 1 and "KL divergence" in done.text
    assert "more than --max-kl 1e-09; nothing was written" in done.err
    assert done.text.startswith("nothing written: GGUF file\n")
    assert not (tmp_path / "a.gguf").exists()


def test_a_sweep_writes_a_row_for_each_number_of_bits(
    llmkit_run: Callable[..., Any], model: Path, line: tuple[Any, ...]
) -> None:
    done = llmkit_run("quantize", model, "--format", "compressed-tensors", "--sweep", "8,4", *line)
    rows = [json.loads(row) for row in done.text.splitlines()]
    assert [row["type"] for row in rows] == ["int8-g128", "int4-g128"], done.err
    assert rows[0]["quality"]["kld"] <= rows[1]["quality"]["kld"]


def test_sensitivity_is_a_table_or_rows(
    llmkit_run: Callable[..., Any], model: Path, line: tuple[Any, ...]
) -> None:
    words = ("quantize", model, "--type", "int4-g32", *line, "--sensitivity")
    table = llmkit_run(*words)
    assert "int3-g32" in table.text.splitlines()[0] and "mlp.down_proj.weight" in table.text
    rows = [json.loads(row) for row in llmkit_run(*words, "--json").text.splitlines()]
    assert {row["grid"] for row in rows} >= {"int3-g32", "int6-g32"} and all("kld" in row for row in rows)


@pytest.mark.parametrize(("width", "forms"), [(32, ["int8-token", "q8_0", "q4_0"]), (16, ["int8-token"])])
def test_keys_and_values_have_their_own_rows_in_the_forms_that_hold_them(
    width: int,
    forms: list[str],
    llmkit_run: Callable[..., Any],
    tiny_model: Callable[..., Path],
    byte_level_dir: Path,
    line: tuple[Any, ...],
) -> None:
    folder = tiny_model(
        "wide", vocab_size=600, hidden_size=64, num_attention_heads=2, num_key_value_heads=1, head_dim=width
    )
    for file in byte_level_dir.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    done = llmkit_run("quantize", folder, "--type", "int4-g32", *line, "--kv-report")
    assert done.text.splitlines()[0].split()[-len(forms) :] == forms, done.err
    assert ("not tried" in done.err) is (len(forms) < 3)
    assert "layer 0, keys" in done.text and "all layers, both" in done.text


def test_an_importance_matrix_is_written_and_read(
    llmkit_run: Callable[..., Any], model: Path, line: tuple[Any, ...], tmp_path: Path
) -> None:
    saved, q8 = tmp_path / "imatrix.gguf", ("--format", "gguf", "--type", "Q8_0")
    done = llmkit_run("quantize", model, *q8, *line, "--save-imatrix", saved)
    assert done.status == 0 and done.text.startswith(f"{saved}: importance of what "), done.err
    done = llmkit_run("quantize", model, *q8, "--imatrix", saved, "--score", *line[1:])
    assert "nearest, weighed by" in done.text and "imatrix.gguf" in done.text, done.err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--bits", "4", "--type", "Q4_0"), "two types"),
        (("--sweep", "8,x"), "no list of bits"),
        (("--tensor", "ffn_down"), "not of the form REGEX=NAME"),
        (("out", "--sensitivity"), "writes no model"),
        (("--kv-report", "--sensitivity"), "are two questions"),
        (("--type", "Q4_K_X", "--format", "gguf"), "no GGUF file type"),
        (("--max-kl", "1"), "need text to score"),
        (("out", "--save-imatrix", "i.gguf"), "writes no model"),
        (("--save-imatrix", "i.gguf", "--type", "int4-g32"), "says what a text puts in"),
    ],
)
def test_what_does_not_go_together_is_status_2(
    llmkit_run: Callable[..., Any], model: Path, words: tuple[str, ...], problem: str
) -> None:
    done = llmkit_run("quantize", model, *words)
    assert done.status == 2 and problem in done.err and len(done.err.splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (("--type", "Q6_K"), "type", "Q6_K"),
        (("--bits", "6"), "bits", 6),
        (("--format", "mlx"), "container", "mlx"),
        (("--method", "nearest"), "method", "nearest"),
        (("-c", "a", "-c", "b"), "calibration", (Path("a"), Path("b"))),
        (("--calibration-tokens", "2k"), "calibration_tokens", 2000),
        (("--scale", "-c", "a"), "scale", True),
        (("--imatrix", "i.dat"), "imatrix", Path("i.dat")),
        (("--score", "s"), "score", (Path("s"),)),
        (("--score-tokens", "3k"), "score_tokens", 3000),
        (("--seq-len", "64"), "seq_len", 64),
        (("--embeddings", "Q8_0"), "embeddings", "Q8_0"),
        (("--head", "Q5_K"), "head", "Q5_K"),
        (("--tensor", "up=Q2_K"), "overrides", (("up", "Q2_K"),)),
        (("--budget-bpw", "4.5", "-c", "a"), "budget_bpw", 4.5),
        (("--fit", "1MiB", "-c", "a"), "fit_bytes", 1 << 20),
        (("--max-kl", "0.1", "-c", "a"), "max_kl", 0.1),
        (("--max-ppl-increase", "0.01", "-c", "a"), "max_ppl_increase", 0.01),
        (("-t", "tok"), "tokenizer", Path("tok")),
        (("--resume",), "resume", True),
        (("--seed", "7"), "seed", 7),
        (("--threads", "3"), "threads", 3),
    ],
)
def test_every_flag_is_what_the_run_is_asked_for(
    llmkit_run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    field: str,
    value: object,
) -> None:
    seen: list[Any] = []

    def asked(model: Path, out: Path | None, config: Any, **rest: Any) -> None:
        seen.append(config)
        raise UsageError("seen", hint="enough")

    monkeypatch.setattr("llmkit.workflows.quantize.job.open_quantize", asked)
    assert llmkit_run("quantize", "in", "out", *words).status == 2
    assert getattr(seen[0], field) == value


def test_a_tokenizer_that_gguf_cannot_hold_may_be_left_out_and_read_the_text_all_the_same(
    llmkit_run: Callable[..., Any], model: Path, line: tuple[Any, ...], tmp_path: Path
) -> None:
    gguf = pytest.importorskip("gguf")
    content = json.loads((model / "tokenizer.json").read_text())
    content["normalizer"] = {"type": "Replace", "pattern": {"Regex": "^ +"}, "content": ""}
    (model / "tokenizer.json").write_text(json.dumps(content))
    words = ("quantize", model, tmp_path / "a.gguf", "--type", "Q8_0")
    refused = llmkit_run(*words)
    assert refused.status == 2 and refused.err.endswith("or leave it out with --no-tokenizer\n")
    done = llmkit_run(*words, "--no-tokenizer", *line, "-t", model)
    assert done.status == 0, done.err
    assert "KL divergence" in done.text and "there is no tokenizer in the file" in done.text
    fields = gguf.GGUFReader(tmp_path / "a.gguf").fields
    assert "tokenizer.ggml.tokens" not in fields
    folder = llmkit_run("quantize", model, tmp_path / "b", "--type", "int4-g32", "--no-tokenizer")
    assert folder.status == 0 and not (tmp_path / "b" / "tokenizer.json").exists()
    both = llmkit_run(*words[:2], tmp_path / "c.gguf", "--no-tokenizer", "-t", model)
    assert both.status == 2 and "-t and --no-tokenizer" in both.err


def test_the_head_and_single_matrices_may_stay_plain_numbers(
    llmkit_run: Callable[..., Any], tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    gguf = pytest.importorskip("gguf")
    model = tiny_model(hidden_size=64, intermediate_size=128, tie_word_embeddings=False)
    plain = ("--embeddings", "f16", "--head", "BF16", "--tensor", "blk.0.ffn_down=F32")
    done = llmkit_run("quantize", model, tmp_path / "a.gguf", "--type", "Q8_0", *plain)
    assert done.status == 0, done.err
    types = {one.name: one.tensor_type.name for one in gguf.GGUFReader(tmp_path / "a.gguf").tensors}
    assert [
        types[f"{name}.weight"] for name in ("token_embd", "output", "blk.0.ffn_down", "blk.1.ffn_down")
    ] == [*("F16", "BF16", "F32", "Q8_0")]
