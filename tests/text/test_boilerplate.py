"""Boilerplate lines, by hand."""

import pytest

from llmkit.text.boilerplate import BoilerplateLines
from llmkit.text.rule import apply_rules

RULE = BoilerplateLines()
PROSE = "\n".join(["The storm came over the hills in the evening.", "Nobody had seen one like it."] * 3)


@pytest.mark.parametrize(
    "line",
    [
        *(
            "Copyright © 2019 Example Inc. All rights reserved.",
            "Privacy Policy",
            "Log in",
            "Read more...",
            "Home",
        ),
        *(
            "Skip to content",
            "Share this on Facebook",
            "Leave a comment",
            "This website uses cookies to improve.",
        ),
        *(
            "Posted by admin on May 3, 2018",
            "Subscribe to our newsletter",
            "« Previous",
            "Powered by WordPress",
        ),
    ],
)
def test_a_boilerplate_line_is_taken_out(line: str) -> None:
    outcome = apply_rules((RULE,), f"{PROSE}\n{line}")
    assert (outcome.text, outcome.edits) == (PROSE, {"boilerplate.lines": 1})
    assert apply_rules((BoilerplateLines(remove=False),), f"{PROSE}\n{line}").text == f"{PROSE}\n{line}"


@pytest.mark.parametrize(
    "line",
    [
        *(
            "Home is where the heart is, they say.",
            "Copyrighted works are protected.",
            "Help came late that night.",
        ),
        *("He left a comment on the door.", "", "The next day they found the print of a shoe."),
    ],
)
def test_prose_that_begins_like_it_stays(line: str) -> None:
    assert not RULE.is_boilerplate(line)


def test_a_page_that_is_mostly_boilerplate_is_dropped() -> None:
    verdict = apply_rules((RULE,), "Home\nLog in\nOne true line stands here.").verdict
    assert verdict is not None and (verdict.rule, verdict.value) == ("boilerplate.lines", 2 / 3)


def test_long_lines_are_prose() -> None:
    line = "Copyright " + "x" * 100
    assert RULE.is_boilerplate(line) and not BoilerplateLines(max_characters=50).is_boilerplate(line)
