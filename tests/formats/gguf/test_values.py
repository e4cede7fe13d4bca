"""Metadata values, packed by hand after the specification."""

import struct

import pytest

from llmkit.errors import DataError
from llmkit.formats.gguf.values import MetadataValue, Typed, encode_pair, encode_text

KEY = struct.pack("<Q", 1) + b"k"


def text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("é", struct.pack("<I", 8) + text("é".encode())),
        ("", struct.pack("<I", 8) + text(b"")),
        (True, struct.pack("<I", 7) + b"\1"),
        (["a", ""], struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"")),
        ([True, False], struct.pack("<IIQ", 9, 7, 2) + b"\1\0"),
        (Typed("u8", 255), struct.pack("<IB", 0, 255)),
        (Typed("i8", -1), struct.pack("<Ib", 1, -1)),
        (Typed("u16", 1), struct.pack("<IH", 2, 1)),
        (Typed("i16", -1), struct.pack("<Ih", 3, -1)),
        (Typed("u32", 1 << 31), struct.pack("<II", 4, 1 << 31)),
        (Typed("i32", -5), struct.pack("<Ii", 5, -5)),
        (Typed("f32", 1e-5), struct.pack("<If", 6, 1e-5)),
        (Typed("f32", 1), struct.pack("<If", 6, 1)),
        (Typed("u64", 1 << 63), struct.pack("<IQ", 10, 1 << 63)),
        (Typed("i64", -5), struct.pack("<Iq", 11, -5)),
        (Typed("f64", 0.1), struct.pack("<Id", 12, 0.1)),
        (Typed("i32", [1, -2, 3]), struct.pack("<IIQ3i", 9, 5, 3, 1, -2, 3)),
        (Typed("f32", (0.5,)), struct.pack("<IIQf", 9, 6, 1, 0.5)),
        (Typed("str", []), struct.pack("<IIQ", 9, 8, 0)),
    ],
)
def test_a_value_has_the_bytes_of_its_type(value: MetadataValue, content: bytes) -> None:
    assert encode_pair("k", value) == KEY + content


def test_bytes_that_were_no_utf_8_come_out_as_they_were() -> None:
    assert encode_text(b"\xe2\x96".decode("utf-8", "surrogateescape")) == text(b"\xe2\x96")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (5, "k: 5 does not say its type"),
        (0.5, "k: 0.5 does not say its type"),
        ([1, 2], r"k: \[1, 2\] does not say its type"),
        (["a", True], "does not say its type"),
        ([], r"k: \[\] does not say its type"),
        (Typed("u32", -1), "k: -1 does not fit the type u32"),
        (Typed("u32", 1 << 32), "k: 4294967296 does not fit the type u32"),
        (Typed("i32", [1, 1 << 31]), "k: one of 2 values does not fit the type i32"),
        (Typed("u32", 1.5), "does not fit the type u32"),
        (Typed("f32", 1e39), "does not fit the type f32"),
        (Typed("u32", "5"), "does not fit the type u32"),
        (Typed("bool", 1), "k: 1 is not of type bool"),
        (Typed("str", ["a", 1]), "k: 1 is not of type str"),
        (Typed("int32", 1), "k: no type 'int32'"),
        (Typed("array", [1]), "k: no type 'array'"),
    ],
)
def test_a_value_without_a_clear_type_or_beyond_it_is_named(value: MetadataValue, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        encode_pair("k", value)


@pytest.mark.parametrize("length", [0, 65536])
def test_a_key_has_from_one_to_65535_bytes(length: int) -> None:
    assert len(encode_pair("k" * 65535, True)) == 8 + 65535 + 4 + 1
    with pytest.raises(DataError, match=f"a metadata key of {length} bytes"):
        encode_pair("k" * length, True)
