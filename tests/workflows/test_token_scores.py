"""A token with its scores as a record."""

import math
from pathlib import Path

import pytest

from llmkit.engine.request import Drawn, Scored
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.token_scores import spelled_token, token_record


def test_a_record_has_every_figure_of_the_token(byte_level_dir: Path) -> None:
    tokenizer = load_tokenizer(byte_level_dir)
    (token,) = tokenizer.encode("a")
    drawn = Drawn(token, None, Scored(token, -1.5), (Scored(token, -1.5),), 2.0, 3, 0.25)
    found = token_record(drawn, tokenizer)
    assert found.pop("surprisal_bits") == pytest.approx(1.5 / math.log(2))
    assert found == {
        **{"id": token, "text": "a", "logprob": -1.5, "entropy_bits": 2.0, "rank": 3, "margin": 0.25},
        "top": [{"id": token, "text": "a", "logprob": -1.5}],
    }


def test_a_token_that_was_not_scored_has_null_for_figures() -> None:
    found = token_record(Drawn(7), None)
    assert found["id"] == 7 and "text" not in found and found["top"] == []
    assert {found[key] for key in ("logprob", "surprisal_bits", "entropy_bits", "rank", "margin")} == {None}


def test_part_of_a_character_has_its_bytes(byte_level_dir: Path) -> None:
    tokenizer = load_tokenizer(byte_level_dir)
    first = tokenizer.encode("é")[0]
    assert spelled_token(first, tokenizer) == {"id": first, "text": "\ufffd", "bytes": [0xC3]}
    assert token_record(Drawn(first), tokenizer)["bytes"] == [0xC3]
