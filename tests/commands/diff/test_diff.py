"""llmkit diff: exit statuses, JSON, and what each flag changes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

Run = Callable[..., Any]
MODEL = "models/stories260K"


@pytest.fixture
def pair(shared_data: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A model and a copy whose final norm is 1e-3 larger and whose config says another context."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in (shared_data / MODEL).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] += 1e-3
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1024}))
    return shared_data / MODEL, folder


def test_the_same_is_0_and_said_in_one_word(llmkit_run: Run, shared_data: Path) -> None:
    ended = llmkit_run("diff", shared_data / MODEL, shared_data / MODEL)
    assert (ended.status, ended.err) == (0, "") and ended.text.endswith("\nsame\n")
    report = json.loads(llmkit_run("diff", shared_data / MODEL, shared_data / MODEL, "--json").out)
    assert (report["schema"], report["same"]) == ("llmkit.diff/1", True)
    assert report["tensors"]["values"] == 260032


def test_a_difference_is_1_with_the_report_on_stdout(llmkit_run: Run, pair: tuple[Path, Path]) -> None:
    ended = llmkit_run("diff", *pair)
    assert ended.status == 1
    assert ended.text.endswith("\ndiffer: 1 tensor, 1 config key\n")
    assert "model.norm.weight" in ended.text and "max_position_embeddings" in ended.text
    first, second = ended.err.splitlines()
    assert first.endswith("differ: 1 tensor, 1 config key") and second.startswith("  hint: ")
    report = json.loads(llmkit_run("diff", *pair, "--json").out)
    (tensor,) = report["tensors"]["changed"]
    assert tensor["a"]["name"] == "model.norm.weight" and tensor["values"]["differing"] == 64
    assert tensor["values"]["max_abs"] == pytest.approx(1e-3, rel=1e-3)
    assert [one["key"] for one in report["config"]["keys"]] == ["max_position_embeddings"]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--only", "tokenizer"], 0),
        (["--only", "tensors"], 1),
        (["--only", "tensors", "--atol", "0.01"], 0),
        (["--only", "tensors", "--atol", "0.0001"], 1),
        (["--only", "tensors", "--rtol", "0.01"], 0),
        (["--only", "tensors", "--headers"], 0),
        (["--only", "tensors", "--tensors", "*layers*"], 0),
        (["--only", "tensors", "--tensors", "*layers*", "--tensors", "*norm*"], 1),
        (["--only", "tokenizer,config"], 1),
    ],
)
def test_flags_narrow_what_counts(
    llmkit_run: Run, pair: tuple[Path, Path], words: list[str], status: int
) -> None:
    assert llmkit_run("diff", *pair, *words).status == status


def test_any_dtype_lets_a_cast_pass(llmkit_run: Run, pair: tuple[Path, Path]) -> None:
    a, b = pair
    tensors = load_file(a / "model.safetensors")
    save_file({name: one.astype("f2") for name, one in tensors.items()}, b / "model.safetensors")
    line = ("diff", a, b, "--only", "tensors", "--atol", "0.01")
    assert llmkit_run(*line).status == 1
    assert llmkit_run(*line, "--any-dtype").status == 0


def test_texts_are_encoded_with_both(llmkit_run: Run, byte_level_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    ended = llmkit_run("diff", byte_level_dir, byte_level_dir, "--text", tmp_path / "a.txt")
    assert ended.status == 0 and "all 1 get the same ids" in ended.text


@pytest.mark.parametrize(
    "words",
    [
        ["--only", "tensor"],
        ["--headers", "--atol", "1"],
        ["--atol", "-1"],
        ["--tensors", "*bias*"],
        ["--only", "tokenizer", "--headers"],
        ["--only", "tensors", "--text", "nowhere.txt"],
    ],
)
def test_flags_that_make_no_sense_are_wrong_usage(
    llmkit_run: Run, shared_data: Path, words: list[str]
) -> None:
    ended = llmkit_run("diff", shared_data / MODEL, shared_data / MODEL, *words)
    assert (ended.status, ended.out) == (2, b"") and len(ended.err.splitlines()) == 2


def test_a_part_that_does_not_exist_is_answered_with_the_nearest(llmkit_run: Run, tmp_path: Path) -> None:
    assert "did you mean tensors?" in llmkit_run("diff", tmp_path, tmp_path, "--only", "tensor").err


def test_one_path_is_wrong_usage_and_different_kinds_are_3_and_nothing_is_4(
    llmkit_run: Run, shared_data: Path, tmp_path: Path
) -> None:
    model, tokenizer = shared_data / MODEL, shared_data / "tokenizers" / "gpt2"
    assert llmkit_run("diff", model).status == 2
    assert llmkit_run("diff", model, tokenizer).status == 3
    assert llmkit_run("diff", model, tmp_path / "nowhere").status == 4
    (tmp_path / "cut.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:-4])
    assert llmkit_run("diff", model / "model.safetensors", tmp_path / "cut.safetensors").status == 3
