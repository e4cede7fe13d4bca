"""What is left of markup, by hand."""

import pytest

from llmkit.text.features import Features
from llmkit.text.markup import Markup, open_fences
from llmkit.text.rule import apply_rules

PROSE = "Plain words, a < b and c > d, R&D; x <- y. " * 20


def scores(text: str) -> dict[str, float]:
    found = apply_rules((Markup(),), text, every_score=True).scores
    return {name.split(".")[1]: value for name, value in found.items()}


def test_signs_in_prose_are_no_markup() -> None:
    assert set(scores(PROSE).values()) == {0}
    assert set(scores("").values()) == {0}


def test_tags_and_entities_are_counted_for_each_thousand_characters() -> None:
    text = '<p class="x">A &amp; B</p><br/><!-- c -->&#160;&#xA0;'
    found = scores(text)
    assert found["tags"] == 1000 * 5 / len(text)
    assert found["entities"] == 1000 * 3 / len(text)


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("```py\nx\n```\n", 0),
        ("```py\nx\n", 1),
        ("````\n```\nx\n", 1),
        ("~~~\n```\n~~~\n", 0),
        ("```\nx\n``` not the end\n", 1),
        ("a ``` b\n", 0),
        ("    ```\n", 0),
    ],
)
def test_a_fence_is_open_by_commonmark(text: str, is_open: int) -> None:
    assert open_fences(Features(text)) == is_open


@pytest.mark.parametrize(
    "line",
    [
        *(
            '"key": [1, 2],',
            "},",
            ".nav > li {",
            "  color: #fff;",
            "var x = 3;",
            "document.write('x');",
            "return x;",
        ),
        *("// comment", "function f(a) {", "@media print {", "x += 1;"),
    ],
)
def test_lines_of_code_are_found(line: str) -> None:
    assert scores(line)["code-lines"] == 1


@pytest.mark.parametrize(
    "line", ["If you come; stay.", "Note: this is prose.", "He said (twice).", "a = b", "Return it."]
)
def test_lines_of_prose_are_not(line: str) -> None:
    assert scores(line)["code-lines"] == 0


def test_a_page_with_too_much_of_it_is_dropped() -> None:
    verdict = apply_rules((Markup(),), "words here\nvar a = 1;\n" + "and here\n" * 2).verdict
    assert verdict is not None and (verdict.rule, verdict.value) == ("markup.code-lines", 1 / 4)
