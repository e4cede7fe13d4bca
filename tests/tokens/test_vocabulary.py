"""vocab.json and merges.txt; ids are compared in test_load.py."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import ConfigError, DataError
from llmkit.tokens.pieces import byte_characters
from llmkit.tokens.vocabulary import read_vocabulary

PIECES = {piece: index for index, piece in enumerate((*byte_characters(), "ab", "Ġab"))}


def _files(
    folder: Path, merges: str = "#version: 0.2\na b\nĠ ab\n", pieces: Any = PIECES
) -> tuple[Path, Path]:
    (folder / "vocab.json").write_text(json.dumps(pieces))
    (folder / "merges.txt").write_text(merges)
    return folder / "vocab.json", folder / "merges.txt"


def test_merges_are_read_with_and_without_a_version(tmp_path: Path) -> None:
    for merges in ("#version: 0.2\na b\nĠ ab\n", "a b\r\nĠ ab\r\n"):
        backend = read_vocabulary(*_files(tmp_path, merges), {})
        assert backend.encode("ab ab").tokens == ["ab", "Ġab"]


def test_qwen_normalises_and_cuts_numbers_singly(tmp_path: Path) -> None:
    files = _files(tmp_path, "1 2\n", PIECES | {"12": 258})
    for kind, tokens in (("GPT2Tokenizer", ["12"]), ("Qwen2TokenizerFast", ["1", "2"])):
        backend = read_vocabulary(*files, {"tokenizer_class": kind})
        assert backend.encode("12").tokens == tokens
        assert len(backend.encode("e\u0301").ids) == (3 if kind == "GPT2Tokenizer" else 2)


def test_bos_is_added_where_the_config_says_so(tmp_path: Path) -> None:
    config = {
        "added_tokens_decoder": {"300": {"content": "<s>"}},
        "bos_token": {"content": "<s>"},
        "add_bos_token": True,
    }
    assert read_vocabulary(*_files(tmp_path), config).encode("ab").ids == [300, 256]


def test_damage_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"merges\.txt:2: not two pieces"):
        read_vocabulary(*_files(tmp_path, "a b\nabc\n"), {})
    with pytest.raises(DataError, match="not a byte-level vocabulary"):
        read_vocabulary(*_files(tmp_path, pieces={"hello": 0}), {})
    with pytest.raises(DataError, match="not pieces with their ids"):
        read_vocabulary(*_files(tmp_path, pieces=[1]), {})
    with pytest.raises(ConfigError, match="RobertaTokenizer"):
        read_vocabulary(*_files(tmp_path), {"tokenizer_class": "RobertaTokenizer"})
