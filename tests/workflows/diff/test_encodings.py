"""Texts through two tokenizers, against the library's own encoding."""

import json
from pathlib import Path

import pytest
import tokenizers

from llmkit.errors import MissingError
from llmkit.progress import SILENT
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.diff.encodings import diff_encodings

TEXTS = ["The license grants rights.", "xyzzy", "Work and work.", ""]


def without_last_merges(source: Path, folder: Path, count: int) -> Path:
    content = json.loads((source / "tokenizer.json").read_text())
    content["model"]["merges"] = content["model"]["merges"][:-count]
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return folder


def test_the_texts_with_other_ids_are_those_the_library_encodes_differently(
    byte_level_dir: Path, tmp_path: Path
) -> None:
    other = without_last_merges(byte_level_dir, tmp_path / "other", 250)
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    found = diff_encodings(
        load_tokenizer(byte_level_dir), load_tokenizer(other), (tmp_path / "docs.jsonl",), progress=SILENT
    )
    backends = [
        tokenizers.Tokenizer.from_file(str(one / "tokenizer.json")) for one in (byte_level_dir, other)
    ]
    encoded = [[backend.encode(text).ids for backend in backends] for text in TEXTS]
    unlike = [number for number, (a, b) in enumerate(encoded) if a != b]
    assert unlike and len(unlike) < len(TEXTS)  # or this shows nothing
    assert (found.texts, found.differing) == (4, len(unlike))
    assert [one.where for one in found.changed] == [f"{tmp_path / 'docs.jsonl'}:{n + 1}" for n in unlike]
    assert (found.tokens_a, found.tokens_b) == tuple(
        sum(len(ids) for ids in side) for side in zip(*encoded, strict=True)
    )
    for number, one in zip(unlike, found.changed, strict=True):
        a, b = encoded[number]
        assert (one.tokens_a, one.tokens_b) == (len(a), len(b))
        assert (
            a[: one.first] == b[: one.first] and a[one.first : one.first + 1] != b[one.first : one.first + 1]
        )
        assert one.pieces_a == [backends[0].id_to_token(index) for index in a[one.first : one.first + 4]]


def test_one_tokenizer_with_itself_differs_nowhere(byte_level_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Some text.")
    tokenizer = load_tokenizer(byte_level_dir)
    found = diff_encodings(tokenizer, tokenizer, (tmp_path,), progress=SILENT)
    assert (found.texts, found.differing, found.changed) == (1, 0, [])


def test_a_text_that_is_not_there_is_missing(byte_level_dir: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(byte_level_dir)
    with pytest.raises(MissingError):
        diff_encodings(tokenizer, tokenizer, (tmp_path / "nowhere",), progress=SILENT)
