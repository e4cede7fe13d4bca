"""What the pieces of a vocabulary stand for: the exact bytes of one token.

A vocabulary stores text, so bytes are written in one of these ways:

byte-level       one printable character for each byte: GPT-2's table, where a space is Ġ
byte fallback    <0xE2> for a byte that no piece covers (Llama 2)
SentencePiece    ▁ for a space
WordPiece        ## before what continues a word
otherwise        the piece is the text
"""

import functools
import re
from collections.abc import Callable
from typing import Any

from llmkit.tokens.steps import steps_of

SPACE_MARK = "▁"
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@functools.cache
def byte_alphabet() -> dict[str, int]:
    """GPT-2's table: the character that stands for each byte.

    Printable bytes of Latin-1 stand for themselves, the others for the characters from U+0100 on, in order.

    Source: openai/gpt-2 `src/encoder.py`, bytes_to_unicode.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): byte for byte in plain}
    return table | {chr(0x100 + index): byte for index, byte in enumerate(others)}


@functools.cache
def byte_characters() -> tuple[str, ...]:
    """The inverse: the character for each of the 256 bytes."""
    table = {byte: character for character, byte in byte_alphabet().items()}
    return tuple(table[byte] for byte in range(256))


def spell(content: bytes) -> str:
    """Bytes as a byte-level vocabulary writes them."""
    characters = byte_characters()
    return "".join(characters[byte] for byte in content)


def piece_reader(state: dict[str, Any]) -> Callable[[str], bytes]:
    """The function from a piece to its bytes.

    Args:
        state: a tokenizer.json, decoded. The decoder says how pieces are written; where there is none, the
            pre-tokenizer does.
    """
    steps = steps_of(state.get("decoder")) or steps_of(state.get("pre_tokenizer"))
    kinds = {step["type"] for step in steps}
    if "ByteLevel" in kinds:
        return _from_byte_level
    if "WordPiece" in kinds or state["model"].get("type") == "WordPiece":
        prefix = state["model"].get("continuing_subword_prefix") or "##"
        return lambda piece: piece.removeprefix(prefix).encode()
    mark = _space_mark(steps)
    fallback = "ByteFallback" in kinds or bool(state["model"].get("byte_fallback"))

    def read(piece: str) -> bytes:
        if fallback and (byte := _BYTE.fullmatch(piece)):
            return bytes([int(byte[1], 16)])
        return (piece.replace(mark, " ") if mark else piece).encode()

    return read


def added_reader(state: dict[str, Any]) -> Callable[[str], bytes]:
    """The function from an added token that is not special to its bytes.

    It is written as text, but SentencePiece's decoders read it as any piece: Gemma adds runs of ▁.

    Args:
        state: a tokenizer.json, decoded.
    """
    kinds = {step["type"] for step in steps_of(state.get("decoder"))}
    if kinds & {"ByteLevel", "WordPiece"} or not kinds & {"Metaspace", "Replace", "ByteFallback"}:
        return str.encode
    return piece_reader(state)


def _from_byte_level(piece: str) -> bytes:
    alphabet = byte_alphabet()
    try:
        return bytes(map(alphabet.__getitem__, piece))
    except KeyError:  # not written in the alphabet: `tokenizers` takes such a piece as it is
        return piece.encode()


def _space_mark(steps: list[dict[str, Any]]) -> str | None:
    """The character that stands for a space, or None."""
    for step in steps:
        if step["type"] == "Metaspace":
            return str(step["replacement"])
        if step["type"] == "Replace" and step["content"] == " " and "String" in step["pattern"]:
            return str(step["pattern"]["String"])
    return None
