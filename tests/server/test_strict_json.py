"""Bodies are read to the letter: what is wrong has a name, and nothing takes long."""

import gzip
from typing import Any

import msgspec
import pytest
import zstandard

from llmkit.server.errors import ApiError
from llmkit.server.strict_json import _BRACKETS, MOST_DEPTH, as_whole, decode, too_deep, whole


class Body(msgspec.Struct, forbid_unknown_fields=True):
    prompt: str
    n: int = 1
    parts: list[dict[str, Any]] = []


@pytest.mark.parametrize(
    ("content", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"{", "invalid_json", None),
        (b'{"prompt": NaN}', "invalid_json", None),
        (b"\xff", "invalid_json", None),
        (b"[]", "invalid_type", None),
        (b"{}", "missing_parameter", "prompt"),
        (b'{"prompt": "a", "n": "1"}', "invalid_type", "n"),
        (b'{"prompt": "a", "n": 1e400}', "invalid_type", "n"),
        (b'{"prompt": "a", "promt": 1}', "unknown_parameter", "promt"),
        (b'{"prompt": "a", "parts": [1]}', "invalid_type", "parts[0]"),
    ],
)
def test_what_is_wrong_with_a_body_is_named(content: bytes, code: str, param: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        decode(content, Body)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, param)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (gzip.compress(b'{"prompt": "a"}', mtime=0), "packed by gzip"),
        (zstandard.compress(b'{"prompt": "a"}'), "packed by zstd"),
        ('{"prompt": "a"}'.encode("utf-16"), "UTF-16"),
    ],
)
def test_a_body_that_is_packed_or_in_other_letters_is_told_what_it_is(content: bytes, what: str) -> None:
    with pytest.raises(ApiError, match=f"^the body is not JSON: it is {what}, and only plain UTF-8 is read$"):
        decode(content, Body)


def test_a_mark_of_utf_8_before_a_body_is_none_of_it() -> None:
    assert decode(b'\xef\xbb\xbf{"prompt": "a"}', Body) == Body("a")
    with pytest.raises(ApiError, match="not JSON"):
        decode(b'\xef\xbb\xbf\xef\xbb\xbf{"prompt": "a"}', Body)


@pytest.mark.parametrize("told", ["2.0", "2e0", "20.0e-1"])
def test_a_whole_number_may_be_written_with_a_point_or_an_exponent(told: str) -> None:
    body = decode(b'{"prompt": "a", "n": %s, "parts": [{"x": 0.5}]}' % told.encode(), Body)
    assert body.n == 2 and type(body.n) is int and body.parts == [{"x": 0.5}]


@pytest.mark.parametrize("told", ["2.5", "-1e400", '2.0, "more": 1'])
def test_what_is_not_whole_or_is_wrong_beside_it_is_refused(told: str) -> None:
    with pytest.raises(ApiError):
        decode(b'{"prompt": "a", "n": %s}' % told.encode(), Body)


def test_a_number_that_no_float_holds_is_none() -> None:
    with pytest.raises(ValueError):
        whole("1e400")
    assert whole("-3.0") == -3 and whole("0.1") == 0.1


def test_a_misspelt_parameter_is_told_the_nearest() -> None:
    with pytest.raises(ApiError, match="did you mean prompt"):
        decode(b'{"prompt": "a", "promt": 1}', Body)


@pytest.mark.parametrize(
    ("told", "value"),
    [("1", 1), ("1.0", 1), ("-2e3", -2000), ("1.5", None), ("true", None), ('"1"', None), ("null", None)],
)
def test_what_is_read_as_a_whole_number_is_what_a_struct_takes_for_one(told: str, value: int | None) -> None:
    assert as_whole(decode(b'{"n": %s}' % told.encode(), dict)["n"]) == value
    body = b'{"prompt": "a", "n": %s}' % told.encode()
    if value is not None:
        assert decode(body, Body).n == value
    else:
        with pytest.raises(ApiError):
            decode(body, Body)


@pytest.mark.parametrize(
    "text", [rb"\ud83d", rb"\uD83D x", rb"\ude00", rb"\ud83d\u0041", rb"\\\ud83d", rb"\ud83d\ude00\ud83d"]
)
def test_half_a_character_is_told_as_such(text: bytes) -> None:
    with pytest.raises(ApiError, match=r"(?i)\\ud(83d|e00) is half a character"):
        decode(b'{"prompt": "' + text + b'"}', Body)


@pytest.mark.parametrize("text", [rb"\ud83d\ude00", rb"\\ud83d"])
def test_a_body_that_ends_too_early_is_not_said_to_have_half_a_character(text: bytes) -> None:
    decode(b'{"prompt": "' + text + b'"}', Body)
    with pytest.raises(ApiError, match="truncated"):
        decode(b'{"prompt": "' + text, Body)


def test_depth_is_counted_outside_strings_only() -> None:
    assert not too_deep(b'{"prompt": "' + b"[" * 1000 + b'\\"' + b"{" * 1000 + b'"}')
    assert not too_deep(b"[" * MOST_DEPTH + b"]" * MOST_DEPTH)
    assert too_deep(b"[" * (MOST_DEPTH + 1))
    assert not too_deep(b"[]" * 10_000)


@pytest.mark.parametrize(
    "inside", [b'\\"' * 100, b'\\"' * 100 + b"\\", b"[" * 100, b"\\\n" * 100, b"\\\\" * 100, b""]
)
@pytest.mark.parametrize("end", [b"", b'"'])
def test_a_string_is_looked_at_once_whether_it_ends_or_not(inside: bytes, end: bytes) -> None:
    """A search that began again at each mark within it would take a time that grows with its square."""
    found = [piece[0] for piece in _BRACKETS.finditer(b'{"prompt":"' + inside + end)]
    assert found == [b"{", b'"prompt"', b'"' + inside + end]
    assert not too_deep(b'{"prompt":"' + inside + end)


def test_brackets_before_and_after_strings_with_escapes_count() -> None:
    assert too_deep(b'["\\"\\\\",' * (MOST_DEPTH + 1))
    assert not too_deep(b'["\\"\\\\",' * MOST_DEPTH + b'"\\')
