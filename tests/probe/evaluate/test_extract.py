"""What a regular expression of the user's leaves to be judged."""

import pytest

from llmkit.errors import UsageError
from llmkit.probe.evaluate.extract import compile_extract, extract


@pytest.mark.parametrize(
    ("regex", "text", "first", "last"),
    [
        (r"= (\d+)", "1 = 1, 2 = 2", "1", "2"),
        (r"\d+", "1 or 22", "1", "22"),
        ("x", "1 or 22", None, None),
        (r"yes: (\w+)|no: (\w+)", "no: b, yes: a", "b", "a"),  # the group that took part
        (r"x(\d)?", "x x1", "x", "1"),  # none did: all of it
        ("<(.*)>", "a <> b", "", ""),  # it took part, and found nothing
        ("^A: (.*)$", "A: one\nA: two\nwhy", "one", "two"),  # lines
        ("(?s)^A: (.*)$", "A: one\nA: two", "one\nA: two", "one\nA: two"),
    ],
)
def test_the_first_group_that_took_part_is_judged_or_all_of_what_is_found(
    regex: str, text: str, first: str | None, last: str | None
) -> None:
    pattern = compile_extract(regex)
    assert (extract(pattern, text, "first"), extract(pattern, text, "last")) == (first, last)


def test_without_a_pattern_the_whole_text_is_judged() -> None:
    assert compile_extract(None) is None
    assert extract(None, "all") == "all"


def test_what_is_no_regular_expression_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--extract '\(' is no regular expression"):
        compile_extract("(")
