"""Steps of a part of tokenizer.json, of parts that the library has written."""

import json
from typing import Any

import pytest
from tokenizers import decoders, normalizers, pre_tokenizers

from llmkit.tokens.steps import steps_of

LOWER = normalizers.Sequence([normalizers.Lowercase()])
FUSE, STRIP = decoders.Fuse(), decoders.Strip(" ", 1, 0)
DIGITS, BYTES = pre_tokenizers.Digits(), pre_tokenizers.ByteLevel()


@pytest.mark.parametrize(
    ("part", "kinds"),
    [
        (normalizers.NFC(), ["NFC"]),
        (normalizers.Sequence([normalizers.NFC(), LOWER]), ["NFC", "Lowercase"]),
        (pre_tokenizers.Sequence([DIGITS, pre_tokenizers.Sequence([BYTES])]), ["Digits", "ByteLevel"]),
        (decoders.Sequence([FUSE, STRIP]), ["Fuse", "Strip"]),
        (decoders.Sequence([]), []),
    ],
)
def test_steps_come_in_their_order_out_of_any_depth(part: Any, kinds: list[str]) -> None:
    assert [step["type"] for step in steps_of(json.loads(part.__getstate__()))] == kinds


def test_no_part_has_no_steps() -> None:
    assert steps_of(None) == []
