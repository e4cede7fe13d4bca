"""Artefacts are told by what they hold, and what is none is refused with what was found."""

import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import DataError, MissingError
from llmkit.workflows.artefact import recognise


def _write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_folders_are_told_apart(
    tmp_path: Path, tiny_model: Callable[..., Path], tiny_adapter: Callable[..., Path]
) -> None:
    model = tiny_model("model")
    assert recognise(model).kind == "model"
    assert recognise(tiny_adapter("adapter")).kind == "adapter"
    run = tiny_model("run")
    _write(run / "metrics.jsonl", '{"step": 1, "loss": 2.0}\n')
    assert recognise(run).kind == "run"
    checkpoint = tiny_model("run/checkpoints/step-00000001")
    _write(checkpoint / "state.json", "{}")
    assert recognise(checkpoint).kind == "checkpoint"
    assert recognise(_write(tmp_path / "tok" / "tokenizer.json", "{}").parent).kind == "tokenizer"
    assert recognise(_write(tmp_path / "sp" / "tokenizer.model", b"\n").parent).kind == "tokenizer"
    assert recognise(_write(tmp_path / "shards" / "index.json", "{}").parent).kind == "shards"
    assert recognise(_write(tmp_path / "corpus" / "part-00000.jsonl.zst", "").parent).kind == "records"
    (model / "model.safetensors").unlink()
    assert recognise(model).kind == "config"


@pytest.mark.parametrize("weights", ["model-00001-of-00002.safetensors", "pytorch_model.bin"])
def test_a_model_whose_weights_are_not_whole_or_not_to_be_read_is_no_tokenizer(
    tmp_path: Path, weights: str
) -> None:
    _write(tmp_path / "tokenizer.json", "{}")
    _write(tmp_path / "config.json", "{}")
    assert recognise(tmp_path).kind == "tokenizer"
    _write(tmp_path / weights, "")
    assert recognise(tmp_path).kind == "model"


def test_a_pipe_holds_records_and_is_not_opened_to_see_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert recognise(tmp_path / "pipe").kind == "records"


def test_a_file_on_stdin_under_a_name_is_told_by_its_content(tmp_path: Path) -> None:
    path = _write(tmp_path / "config.json", '{"model_type": "llama"}')
    with path.open() as stream:
        assert recognise(Path(f"/dev/fd/{stream.fileno()}")).kind == "config"


def test_files_are_told_apart(
    tmp_path: Path, tiny_model: Callable[..., Path], tiny_adapter: Callable[..., Path]
) -> None:
    model = tiny_model()
    assert recognise(model / "model.safetensors").kind == "safetensors"
    assert recognise(model / "config.json").kind == "config"
    adapter = tiny_adapter()
    found = recognise(adapter / "adapter_config.json")
    assert (found.kind, found.path) == ("adapter", adapter)
    for kind, name, content in (
        ("records", "docs.jsonl", '{"text": "a"}\n'),
        ("records", "docs.data", '{"text": "a"}\n{"text": "b"}\n'),
        ("metrics", "metrics.jsonl", '{"step": 1, "loss": 2.5}\n'),
        ("metrics", "log.txt", '{"event": "start", "step": 0}\n{"step": 1, "loss": 2.5}\n'),
        ("records", "words.jsonl", '{"step": "a word", "loss": "another"}\n'),
        ("text", "prose.txt", "Once upon a time.\n"),
        ("tokenizer", "any.json", json.dumps({"model": {"type": "BPE"}, "added_tokens": []})),
        ("tokenizer", "vocab.json", json.dumps({"step": 1, "loss": 2})),
        ("tokenizer", "gpt.tiktoken", "IQ== 0\n"),
        ("report", "ppl.json", json.dumps({"schema": "llmkit.eval.ppl/1", "model": {"path": "run"}})),
        ("report", "llmkit.json", '{\n  "schema": "llmkit.provenance/1"\n}\n'),
        ("shard", "shard-00000.tok.zst", b"\x50\x2a\x4d\x18\x02\x00\x00\x00{}"),
        ("shard", "renamed", b"\x50\x2a\x4d\x18\x02\x00\x00\x00{}"),
    ):
        assert recognise(_write(tmp_path / name, content)).kind == kind, name


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("cut.json", '{"model_type": "llama", "hid', "cut short"),
        ("other.json", '{"a": 1}', "found: a"),
        ("photo.bin", b"\x89PNG\r\n", r"found: bytes 89 50 4e 47 0d 0a\)"),
        ("notes", "only\ta few words\nmore", "found: only a few words"),
        ("cut", "a" * 39 + "\u00e9", r"found: a{39}\)"),
        ("one", b"\xff", r"found: bytes ff\)"),
        ("pytorch_model.bin", b"PK\x03\x04", "pickle"),
        ("empty.json", "", "found: nothing"),
    ],
)
def test_what_is_no_artefact_is_bad_data(tmp_path: Path, name: str, content: str | bytes, found: str) -> None:
    with pytest.raises(DataError, match=found):
        recognise(_write(tmp_path / name, content))


def test_a_packed_file_that_is_not_read_is_told_how_to_unpack(tmp_path: Path) -> None:
    path = _write(tmp_path / "d.jsonl.xz", lzma.compress(b'{"text": "a"}'))
    with pytest.raises(DataError, match="found: bytes fd 37") as caught:
        recognise(path)
    assert caught.value.hint == f"xz -dc {path}"


def test_a_folder_of_something_else_lists_what_is_in_it(tmp_path: Path) -> None:
    _write(tmp_path / "holiday.jpeg", b"\xff\xd8")
    with pytest.raises(DataError, match=r"holiday\.jpeg"):
        recognise(tmp_path)


def test_a_path_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        recognise(tmp_path / "nothing")
