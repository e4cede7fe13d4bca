"""Curves in a terminal: where the dots are, what the labels say, and that nothing is wider than asked."""

import math

from llmkit.commands.plot import INKS, Series, draw_curves

_DOTS = {
    0x01: (0, 0),
    0x02: (1, 0),
    0x04: (2, 0),
    0x40: (3, 0),
    0x08: (0, 1),
    0x10: (1, 1),
    0x20: (2, 1),
    0x80: (3, 1),
}


def _dots(lines: list[str]) -> set[tuple[int, int]]:
    """(row, column) of every braille dot of the plot, read back from the characters."""
    found = set()
    for row, line in enumerate(lines):
        mark = max(line.find("┤"), line.find("│"))
        for column, character in enumerate(line[mark + 1 :] if mark >= 0 else ""):
            for bit, (down, right) in _DOTS.items():
                if 0x2800 <= ord(character) < 0x2900 and (ord(character) - 0x2800) & bit:
                    found.add((4 * row + down, 2 * column + right))
    return found


def test_a_straight_line_falls_from_corner_to_corner() -> None:
    lines = draw_curves([Series("a", [(0, 1.0), (100, 0.0)])], width=40, height=10)
    dots = _dots(lines)
    columns = 40 - lines[0].index("┤") - 1
    assert (0, 0) in dots and (39, 2 * columns - 1) in dots
    for row, column in dots:  # on the diagonal, to a dot
        assert abs(row - column * 39 / (2 * columns - 1)) <= 1


def test_every_column_of_a_line_has_a_dot() -> None:
    lines = draw_curves([Series("a", [(x, math.sin(x / 5)) for x in range(30)])], width=60, height=8)
    columns = {column for _, column in _dots(lines)}
    assert columns == set(range(max(columns) + 1))


def test_no_line_is_wider_than_asked() -> None:
    points = [(step, 8 * math.exp(-step / 30_000)) for step in range(0, 100_000, 100)]
    for width in (30, 40, 80, 120):
        lines = draw_curves([Series("train", points), Series("valid", points[::100], "o")], width=width)
        assert max(len(line) for line in lines) <= width


def test_labels_are_round_numbers_that_differ() -> None:
    lines = draw_curves([Series("a", [(0, 2.003), (1, 1.997)])], width=60, height=12)
    labels = [line.split("┤")[0].strip() for line in lines if "┤" in line]
    assert "2.000" in labels and len(set(labels)) == len(labels) >= 3


def test_markers_stand_on_top_of_the_line() -> None:
    points = [(0.0, 3.0), (10.0, 2.0), (20.0, 1.0)]
    lines = draw_curves([Series("train", points), Series("valid", points, "o")], width=50, height=9)
    assert sum(line.count("o") for line in lines[:9]) == 3
    assert "o valid" in lines[-1] and "train" in lines[-1]


def test_points_that_are_not_finite_are_left_out() -> None:
    whole = [(float(x), 5.0 - x) for x in range(5)]
    holed = [*whole, (2.5, math.nan), (3.5, math.inf)]
    assert draw_curves([Series("a", holed)], width=40) == draw_curves([Series("a", whole)], width=40)
    assert draw_curves([Series("a", [(1.0, math.nan)])], width=40) == ["(no finite points to draw)"]


def test_one_point_and_a_flat_line_can_be_drawn() -> None:
    assert sum(line.count("o") for line in draw_curves([Series("v", [(10, 4.0)], "o")], width=40)[:-1]) == 1
    rows = {row for row, _ in _dots(draw_curves([Series("a", [(0, 4.0), (9, 4.0)])], width=40))}
    assert len(rows) == 1


def test_a_flat_line_of_small_values_is_labelled_with_its_value() -> None:
    lines = draw_curves([Series("lr", [(1, 3e-4), (9, 3e-4)])], width=40, height=5)
    assert any(line.split()[0] == "0.0003" for line in lines if "⠤" in line or "⠒" in line or "⠉" in line)


def test_escape_codes_appear_with_colour_only() -> None:
    series = [Series("train", [(0, 2.0), (9, 1.0)]), Series("valid", [(5, 1.5)], "o")]
    plain = draw_curves(series, width=50)
    coloured = draw_curves(series, width=50, color=True)
    assert "\x1b" not in "".join(plain)
    for line in coloured:  # each line leaves the terminal as it found it
        assert line.count("\x1b") == 0 or line.rindex("\x1b[0m") > line.rindex("\x1b[3")
    stripped = [
        "".join(part.split("m", 1)[-1] if i else part for i, part in enumerate(line.split("\x1b")))
        for line in coloured
    ]
    assert [line.rstrip() for line in stripped] == plain


def test_lines_may_have_inks_of_their_own() -> None:
    series = [
        Series(name, [(0, 0), (9, level)], ink=ink)
        for name, level, ink in zip("ab", (1, 2), INKS, strict=False)
    ]
    lines = draw_curves(series, width=40, color=True)
    assert lines[-1].strip() == f"{INKS[0]}⠤⠤\x1b[0m a   {INKS[1]}⠤⠤\x1b[0m b"
    assert any(INKS[1] in line for line in lines[:-1])


def test_every_range_has_a_number_at_its_side_and_few_of_them() -> None:
    for low, high in ((5.5, 9.9), (0.11, 0.19), (1, 2), (0, 1), (-3, 7), (6.03, 6.59), (2.2e-5, 4.9e-5)):
        for height in (4, 5, 12):
            lines = draw_curves([Series("x", [(0, low), (1, high)])], height=height)
            labels = [line.split("┤")[0].strip() for line in lines if "┤" in line]
            assert 1 <= len(labels) <= max(3, height)
            assert all(low <= float(label) <= high for label in labels)


def test_a_legend_that_is_long_begins_further_left() -> None:
    points = [(0, 48_000.0), (9, 60_000.0)]
    *_, legend = draw_curves([Series("tokens per second", points)], width=24, height=5)
    assert legend == "    ⠤⠤ tokens per second"
