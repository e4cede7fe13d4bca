"""Flags that would do nothing, contradict each other or leave nothing are refused."""

from typing import Any

import pytest

from llmkit.errors import UsageError
from llmkit.tokens.config import PackConfig, TokenizeConfig


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"mode": "ids", "max_tokens": 4}, "--max does nothing with --ids"),
        ({"mode": "count", "keep": "tail"}, "--keep does nothing with --count"),
        ({"mode": "decode", "bos": True}, "--bos does nothing with --decode"),
        ({"mode": "decode", "allow_special": True}, "--allow-special does nothing with --decode"),
        ({"mode": "decode", "generation_prompt": True}, "--generation-prompt does nothing with --decode"),
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


def test_a_row_stores_one_id_more_than_it_has_targets() -> None:
    # inputs are ids 0 to 1023, targets ids 1 to 1024
    assert PackConfig().row_length == 1025
    assert PackConfig(seq_len=1).row_length == 2


@pytest.mark.parametrize("name", ["seq_len", "shard_tokens"])
@pytest.mark.parametrize("value", [0, -3])
def test_rows_and_shards_of_nothing_are_refused_by_the_name_of_their_flag(name: str, value: int) -> None:
    flag = name.replace("_", "-")
    with pytest.raises(UsageError, match=rf"--{flag} must be at least 1 \(found {value}\)") as caught:
        PackConfig(**{name: value})
    assert caught.value.hint.startswith(f"--{flag} ")


def test_rows_without_gaps_are_known_by_what_they_were_known_by_before_there_were_any() -> None:
    assert list(PackConfig().key) == [
        *("seq_len", "strategy", "long", "boundary", "shuffle", "seed", "shard_tokens"),
    ]
    assert (
        PackConfig(fim=0.5, fim_spm=0.0).key | {"fim": 0.5, "fim_spm": 0.0}
        == PackConfig(fim=0.5, fim_spm=0.0).key
    )
