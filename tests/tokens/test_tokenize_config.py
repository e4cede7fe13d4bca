"""Flags of tokenize that would do nothing, or contradict each other, are refused."""

from typing import Any

import pytest

from llmkit.errors import UsageError
from llmkit.tokens.config import TokenizeConfig


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"mode": "ids", "max_tokens": 4}, "--max does nothing with --ids"),
        ({"mode": "count", "keep": "tail"}, "--keep does nothing with --count"),
        ({"mode": "decode", "bos": True}, "--bos does nothing with --decode"),
        ({"mode": "jsonl", "row_format": "tsv"}, "--jsonl has no format tsv"),
        ({"mode": "raw", "row_format": "text"}, "--raw has no format text"),
        ({"mode": "chunk", "limit": 8, "overlap": 8}, "--overlap 8 must be below"),
        ({"mode": "truncate", "limit": 2, "bos": True, "eos": True}, "leaves no room"),
        ({"mode": "truncate"}, "--truncate 0 leaves no room"),
        ({"prices": (-1.0,)}, "--price is negative"),
    ],
)
def test_contradictions_are_usage_errors(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        TokenizeConfig(**settings)


def test_what_makes_sense_is_taken() -> None:
    TokenizeConfig(mode="chunk", limit=9, overlap=7, bos=True)
    TokenizeConfig(mode="compare", prices=(1.0, 2.0), by="lang", row_format="json")
