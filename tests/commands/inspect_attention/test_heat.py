"""Maps in a terminal, read back: escape codes to colours, characters to shades."""

import re

from worded_models import report_of

from llmkit.commands.inspect_attention.heat import MARGIN, key_line, map_lines, shaded_text
from llmkit.workflows.inspect_attention.colors import UNSEEN, color_of
from llmkit.workflows.inspect_attention.report import MapPart

TOKENS = report_of([" the", "\n", "a long word indeed"]).tokens
PART = MapPart(
    **{"layer": 0, "head": 0, "rows": [0, 1, 2, 3], "cols": [0, 1, 2, 3]},
    values=[[1.0, None, None], [0.25, 0.75, None], [0.0, 0.0, 1.0]],
)
CODES = re.compile(r"\x1b\[([0-9;]*)m")


def drawn(line: str) -> list[tuple[tuple[int, ...] | None, tuple[int, ...] | None]]:
    """Upper and lower colour of each half block."""
    ink: tuple[int, ...] | None = None
    paper: tuple[int, ...] | None = None
    found = []
    for codes, text in re.findall(r"\x1b\[([0-9;]*)m([^\x1b]*)", line):
        numbers = tuple(int(one) for one in codes.split(";") if one)
        if numbers[:2] == (38, 2):
            ink = numbers[2:]
        elif numbers[:2] == (48, 2):
            paper = numbers[2:]
        elif numbers == (49,):
            paper = None
        found += [(ink, paper)] * text.count("▀")
    return found


def test_a_half_block_is_two_queries_in_their_colours() -> None:
    first, second, axis = map_lines(PART, TOKENS, scores=False, color=True)
    assert drawn(first) == [
        (color_of(1.0), color_of(0.5)),
        (UNSEEN, color_of(0.75**0.5)),
        (UNSEEN, UNSEEN),
    ]
    assert drawn(second) == [(color_of(0), None), (color_of(0), None), (color_of(1.0), None)]
    assert first.startswith(f"{'the 0':>{MARGIN - 2}}  ") and axis.strip() == "^0"
    assert first.endswith("\x1b[0m")


def test_without_colour_each_query_has_a_line_and_there_is_no_escape_byte() -> None:
    lines = map_lines(PART, TOKENS, scores=False, color=False)
    assert [line[MARGIN:] for line in lines[:3]] == ["@", "+%", "  @"]
    assert [line[:MARGIN].strip() for line in lines[:3]] == ["the 0", "\\n 1", "a long wo… 2"]
    assert "\x1b" not in "".join([*lines, key_line(scores=False, color=False)])


def test_cells_of_several_queries_and_wide_maps_have_numbers() -> None:
    part = MapPart(layer=0, head=0, rows=[0, 4, 8], cols=list(range(0, 52, 2)), values=[[0.1] * 25] * 2)
    lines = map_lines(part, TOKENS, scores=False, color=False)
    assert lines[0].split()[0] == "0-3" and lines[1].split()[0] == "4-7"
    assert lines[-1][MARGIN:] == "^0        ^20       ^40"


def test_the_key_says_what_shades_are() -> None:
    assert "0  .:-=+*#%@ 1" in key_line(scores=False, color=False)
    of_scores = key_line(scores=True, color=False)
    assert of_scores.startswith("lowest") and "score before" in of_scores
    assert len(CODES.findall(key_line(scores=False, color=True))) == 21


def test_a_text_is_shaded_and_breaks_between_tokens() -> None:
    texts, weights = ["Once", " upon", " a", " time"], [0.7, 0.0, 0.02, 0.28]
    plain = shaded_text(weights, texts, color=False, width=80)
    assert plain == ["{Once} upon a{ time}"]
    assert shaded_text(weights, texts, color=False, width=12) == ["{Once} upon", " a{ time}"]
    (colored,) = shaded_text(weights, texts, color=True, width=80)
    assert CODES.sub("", colored) == "Once upon a time"
    assert "\x1b[48;2;{};{};{}m".format(*color_of(0.7**0.5)) in colored
    assert shaded_text([1.0], ["\n\x1b[31m"], color=False, width=80) == ["{\\n\\x1b[31m}"]  # no steering
