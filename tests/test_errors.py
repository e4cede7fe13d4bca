import pytest

from llmkit import errors
from llmkit.errors import LlmkitError, nearest, some_of


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
    assert (error.status, error.problem, error.hint, str(error)) == (
        status,
        "x.jsonl:3: bad",
        "do this",
        "x.jsonl:3: bad",
    )


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
