"""What pieces stand for, held against the decoders of the `tokenizers` library."""

from typing import Any

import pytest
from tokenizers import decoders, pre_tokenizers

from llmkit.tokens.pieces import byte_alphabet, piece_reader, spell


def test_the_alphabet_is_that_of_the_library() -> None:
    assert sorted(byte_alphabet()) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(byte_alphabet().values()) == list(range(256))
    every = bytes(range(256))
    assert decoders.ByteLevel().decode([spell("Ünï 日本\n".encode())]) == "Ünï 日本\n"
    assert bytes(byte_alphabet()[one] for one in spell(every)) == every


def _state(decoder: dict[str, Any] | None, **model: Any) -> dict[str, Any]:
    return {"model": model, "decoder": decoder, "pre_tokenizer": None}


@pytest.mark.parametrize(
    ("state", "piece", "content"),
    [
        (_state({"type": "ByteLevel"}, type="BPE"), "Ġthe", b" the"),
        (_state({"type": "ByteLevel"}, type="BPE"), "<｜end｜>", "<｜end｜>".encode()),
        (_state({"type": "Metaspace", "replacement": "▁"}, type="Unigram"), "▁the", b" the"),
        (_state({"type": "Fuse"}, type="WordLevel"), "▁", "▁".encode()),
        (_state(None, type="WordPiece"), "##ing", b"ing"),
    ],
)
def test_each_way_of_writing_is_read(state: dict[str, Any], piece: str, content: bytes) -> None:
    assert piece_reader(state)(piece) == content


def test_bytes_that_no_piece_covers_are_bytes_only_with_byte_fallback() -> None:
    steps = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "Fuse"}]
    decoder = {"type": "Sequence", "decoders": steps}
    assert piece_reader(_state(decoder, type="BPE", byte_fallback=True))("<0xE2>") == b"\xe2"
    assert piece_reader(_state(decoder, type="BPE", byte_fallback=False))("<0xE2>") == b"<0xE2>"
    assert piece_reader(_state(decoder, type="BPE", byte_fallback=True))("▁a▁") == b" a "


def test_without_a_decoder_the_pre_tokenizer_tells() -> None:
    state = {"model": {"type": "BPE"}, "decoder": None, "pre_tokenizer": {"type": "ByteLevel"}}
    assert piece_reader(state)("Ċ") == b"\n"
