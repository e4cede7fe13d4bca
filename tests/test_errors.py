import os

import pytest

from llmkit import errors
from llmkit.errors import (
    DataError,
    LlmkitError,
    MissingError,
    ResourceError,
    as_told,
    at_place,
    nearest,
    on_one_line,
    some_of,
    told,
)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("GateFailed", 1),
        ("UsageError", 2),
        ("ConfigError", 2),
        ("DataError", 3),
        ("MissingError", 4),
        ("ResourceError", 5),
        ("RemoteError", 6),
        ("StoppedResumable", 75),
    ],
)
def test_each_error_has_the_status_of_the_contract(kind: str, status: int) -> None:
    error = getattr(errors, kind)("x.jsonl:3: bad", hint="do this")
    assert isinstance(error, LlmkitError)
    assert type(as_told(**told(error))) is type(error)  # what another process makes of it
    assert (error.status, error.problem, error.hint, str(error)) == (
        status,
        "x.jsonl:3: bad",
        "do this",
        "x.jsonl:3: bad",
    )


def test_of_an_error_of_no_known_kind_the_words_are_kept() -> None:
    for kind in ("KeyError", "nearest", ""):
        error = as_told(kind, "it is full", "make room")
        assert type(error) is ResourceError and told(error)["problem"] == "it is full"
        assert error.hint == "make room"


def test_an_error_at_a_place_is_the_same_error_with_the_place_before_it() -> None:
    with pytest.raises(DataError, match=r"^a.jsonl:2: no way$") as caught, at_place("a.jsonl:2"):
        raise DataError("no way", hint="another")
    assert (caught.value.problem, caught.value.hint) == ("a.jsonl:2: no way", "another")


def test_an_error_of_another_kind_is_about_no_place() -> None:
    with pytest.raises(MissingError, match=r"^gone$"), at_place("a.jsonl:2"):
        raise MissingError("gone", hint="another")


def test_the_nearest_word_is_the_one_that_was_meant() -> None:
    known = ["--seq-len", "--seed", "--strategy"]
    assert nearest("--sequence-len", known) == "--seq-len"
    assert nearest("--sede", known) == "--seed"
    assert nearest("--zzz", known) is None


def test_some_names_are_told_and_the_others_counted() -> None:
    assert some_of(["a"]) == "a" and some_of([]) == ""
    assert some_of(["a", "b", "c"]) == "a, b, c"
    assert some_of(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert some_of(["a", "b", "c"], 2) == "a, b and 1 more"


def test_a_text_on_one_line_keeps_every_letter_and_shows_every_control_as_an_escape() -> None:
    assert on_one_line("naïve 東京\u3000\u00a0🌍 a\\b") == "naïve 東京\u3000\u00a0🌍 a\\b"
    assert on_one_line("\x1b[2J\x07\x7f\x9b\t\r\n\0") == r"\x1b[2J\x07\x7f\x9b\t\r\n\x00"
    assert on_one_line(os.fsdecode(b"\xff\x80.txt")) == r"\xff\x80.txt"
