"""Rank tables; ids are compared with tiktoken's in test_load.py."""

import base64
from pathlib import Path

import pytest

from llmkit.errors import DataError
from llmkit.tokens.tiktoken import KNOWN, read_ranks, read_tiktoken, reconstruct_merges

BYTES = {bytes([byte]): byte for byte in range(256)}


def _table(ranks: dict[bytes, int]) -> bytes:
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())


def test_a_merge_is_the_last_join_of_lower_ranks() -> None:
    ranks = BYTES | {b"ab": 256, b"bc": 257, b"abc": 258, b"abcbc": 259}
    # by hand: in abc, ab joins before bc; in abcbc, ab, then the second bc, then ab+c
    assert reconstruct_merges(ranks) == [(b"a", b"b"), (b"b", b"c"), (b"ab", b"c"), (b"abc", b"bc")]


def test_a_token_that_no_merge_makes_still_matches_a_whole_word() -> None:
    ranks = BYTES | {b"zq": 256, b" wxyz": 257}
    assert reconstruct_merges(ranks) == [(b"z", b"q")]


def test_published_tables_have_the_known_sizes(shared_data: Path) -> None:
    for name in ("r50k_base", "cl100k_base"):
        content = (shared_data / "tokenizers" / "tiktoken" / f"{name}.tiktoken").read_bytes()
        ranks = read_ranks(content, name)
        assert len(ranks) == KNOWN[name].size
        assert len(reconstruct_merges(ranks)) == KNOWN[name].size - 256


def test_a_table_is_known_by_its_size_whatever_its_name(shared_data: Path) -> None:
    content = (shared_data / "tokenizers" / "tiktoken" / "r50k_base.tiktoken").read_bytes()
    backend = read_tiktoken(content, "somewhere/table.tiktoken")
    assert backend.token_to_id("<|endoftext|>") == 50_256
    with pytest.raises(DataError, match=r"not known \(found 256 ranks\)"):
        read_tiktoken(_table(BYTES), "table.tiktoken")


def test_a_table_without_a_byte_is_damaged() -> None:
    with pytest.raises(DataError, match="no token for byte 0x41"):
        read_ranks(_table({token: rank for token, rank in BYTES.items() if token != b"A"}), "t")
    with pytest.raises(DataError, match="t:1: not a token in base64"):
        read_ranks(b"!!! 0\n", "t")
