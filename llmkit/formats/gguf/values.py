"""Values of a GGUF file's keys: their types by name, and the bytes they become.

A type is named by a short word (u32, f32, str, …). Text, booleans and lists of them say their own type; a
number does not (llama.cpp refuses a u64 where it asks for a u32), so it is given as `Typed("u32", 5)`.

Source: ggml's docs/gguf.md, `gguf_metadata_value_type`.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.errors import DataError, nearest

SCALAR_CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Types of one number, and the code that `struct` has for them."""
STRING, ARRAY = 8, 9
KIND_NAMES = {
    **{0: "u8", 1: "i8", 2: "u16", 3: "i16", 4: "u32", 5: "i32", 6: "f32", 7: "bool"},
    **{STRING: "str", ARRAY: "array", 10: "u64", 11: "i64", 12: "f64"},
}
"""Numbers of types in a file, and their words here."""
ALIGNMENT = "general.alignment"
"""The key of it: the data, and each tensor in them, begin at a multiple of so many bytes."""
DEFAULT_ALIGNMENT = 32
_NUMBERS = {name: number for number, name in KIND_NAMES.items()}
_MAX_KEY_BYTES = 65535


@dataclass(frozen=True)
class Typed:
    """A value with the type it has in a file; a list is an array of values of that type."""

    kind: str
    """u8 i8 u16 i16 u32 i32 u64 i64 f32 f64 bool str."""
    value: bool | int | float | str | Sequence[bool] | Sequence[int] | Sequence[float] | Sequence[str]


MetadataValue = str | bool | Sequence[str] | Sequence[bool] | Typed


def encode_pair(key: str, value: MetadataValue) -> bytes:
    """A key, its type and its value, little-endian.

    Raises:
        DataError: the key is empty or too long, or the value does not fit its type, or its type is not clear.
    """
    name = encode_text(key)
    if not 8 < len(name) <= 8 + _MAX_KEY_BYTES:
        raise DataError(
            f"a metadata key of {len(name) - 8} bytes", hint=f"a key has 1 to {_MAX_KEY_BYTES} bytes"
        )
    typed = value if isinstance(value, Typed) else _typed(key, value)
    number = _NUMBERS.get(typed.kind)
    if number is None or number == ARRAY:
        close = nearest(typed.kind, _NUMBERS)
        raise DataError(
            f"{key}: no type {typed.kind!r}", hint=f"did you mean {close}?" if close else f"one of {_known()}"
        )
    if isinstance(typed.value, str) or not isinstance(typed.value, Sequence):
        return name + struct.pack("<I", number) + _values(key, typed.kind, [typed.value])
    head = struct.pack("<IIQ", ARRAY, number, len(typed.value))
    return name + head + _values(key, typed.kind, typed.value)


def encode_text(text: str) -> bytes:
    """A string: its length in bytes, then UTF-8; bytes that were no UTF-8 when read come out as they were."""
    content = text.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(content)) + content


def _typed(key: str, value: str | bool | Sequence[str] | Sequence[bool]) -> Typed:
    if isinstance(value, str):
        return Typed("str", value)
    if isinstance(value, bool):
        return Typed("bool", value)
    if isinstance(value, list | tuple) and value:
        if all(isinstance(item, str) for item in value):
            return Typed("str", value)
        if all(isinstance(item, bool) for item in value):
            return Typed("bool", value)
    raise DataError(
        f"{key}: {_short(value)} does not say its type", hint='name it: Typed("u32", 5), Typed("f32", [0.5])'
    )


def _values(key: str, kind: str, values: Sequence[Any]) -> bytes:
    expected = {"str": str, "bool": bool}.get(kind)
    strange = next((item for item in values if expected and not isinstance(item, expected)), None)
    if strange is not None:
        raise DataError(f"{key}: {_short(strange)} is not of type {kind}", hint="give a value of that type")
    if kind == "str":
        return b"".join(map(encode_text, values))
    code = SCALAR_CODES[_NUMBERS[kind]]
    try:
        return struct.pack(f"<{len(values)}{code}", *values)
    except (struct.error, OverflowError) as error:
        what = f"one of {len(values)} values" if len(values) > 1 else _short(values[0])
        raise DataError(
            f"{key}: {what} does not fit the type {kind} ({error})", hint="give a wider type"
        ) from None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _known() -> str:
    return ", ".join(name for name in _NUMBERS if name != "array")
