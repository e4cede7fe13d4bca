"""Charts of memory against context: a whole one as text, and dots read back from braille."""

import re
from itertools import pairwise

import pytest

import llmkit.commands.kv_estimate.chart
from llmkit.commands.kv_estimate.chart import memory_chart, token_label
from llmkit.errors import ConfigError

GIB = 2**30
PER_TOKEN = 131_072  # Llama-3-8B in 16 bits
DOUBLING = [(context, context * PER_TOKEN) for context in (1024, 2048, 4096, 8192, 16_384, 32_768)]
# column and row of each bit's dot: Unicode, Braille Patterns
BRAILLE = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))


def dots(chart: str, height: int) -> dict[int, list[int]]:
    """Rows of the dots that are set, from 0 at the top, by their column."""
    found: dict[int, list[int]] = {}
    for row, line in enumerate(chart.splitlines()[:height]):
        edge = next(number for number, mark in enumerate(line) if mark in "┤│┼")
        for column, mark in enumerate(line[edge + 1 :]):
            if 0x2800 <= ord(mark) <= 0x28FF:
                bits = ord(mark) - 0x2800
                for bit, (x, y) in enumerate(BRAILLE):
                    if bits >> bit & 1:
                        found.setdefault(2 * column + x, []).append(4 * row + y)
    return found


def starred(chart: str) -> list[str]:
    """Lines with an asterisk for each character of the curve."""
    return re.sub("[\u2800-\u28ff]", "*", chart).splitlines()


def test_a_chart_looks_like_this() -> None:
    points = [(1000, 0), (2000, 1000)]
    assert starred(memory_chart(points, width=40, height=5, limit=500)) == [
        # 20 rows of dots, of which the outer ones have half of the range of the others
        "1000 B ┤                          ******",
        "       │                   *******",
        " 500 B ┼╌╌╌╌╌╌╌╌╌╌╌╌********╌╌╌╌╌╌╌╌╌╌╌╌",
        "       │      *******",
        "   0 B ┤******",
        "       └────────────────────────────────",
        "        1k                            2k",
        "        ╌╌ limit 500 B",
    ]


def test_the_picture_in_the_docstring_is_what_is_drawn() -> None:
    points = [(context, context * PER_TOKEN) for context in (8192, 16_384, 32_768)]
    chart = memory_chart(points, width=44, height=7, limit=3 * GIB)
    assert chart in (llmkit.commands.kv_estimate.chart.__doc__ or "")


def test_dots_stand_where_the_memory_is() -> None:
    height, top = 12, 32_768 * PER_TOKEN
    chart = memory_chart(DOUBLING, width=72, height=height)
    found = dots(chart, height)
    last = max(found)
    assert sorted(found) == list(range(last + 1))
    for column, rows in found.items():
        context = 1024 * 32 ** (column / last)  # five doublings: the axis is logarithmic
        exact = (1 - context * PER_TOKEN / top) * (4 * height - 1)
        assert min(rows) - 0.51 <= exact <= max(rows) + 0.51


def test_few_doublings_are_drawn_on_a_linear_axis() -> None:
    height = 8
    found = dots(memory_chart(DOUBLING[-4:], width=60, height=height), height)
    middles = [sum(rows) / len(rows) for _, rows in sorted(found.items())]
    last = len(middles) - 1
    for column, middle in enumerate(middles):
        straight = (1 - (1 + 7 * column / last) / 8) * (4 * height - 1)
        assert abs(middle - straight) <= 1


def test_a_line_has_no_gaps_where_it_is_steep() -> None:
    height = 10
    cliff = [(100, 0), (101, 10**6), (200, 10**6)]
    found = dots(memory_chart(cliff, width=40, height=height), height)
    rows = [sorted(found[column]) for column in sorted(found)]
    assert all(set(row) == set(range(row[0], row[-1] + 1)) for row in rows)
    assert all(after[-1] >= before[0] - 1 for before, after in pairwise(rows))


@pytest.mark.parametrize("limit", [None, 0, 1, GIB, 4 * GIB, 9 * GIB, 10**15, -5 * GIB])
@pytest.mark.parametrize(("width", "height"), [(40, 4), (50, 9), (100, 20)])
def test_no_line_is_wider_than_asked(width: int, height: int, limit: int | None) -> None:
    for points in (DOUBLING, DOUBLING[:1], [(1, 0), (10**9, 10**15)]):
        chart = memory_chart(points, width=width, height=height, limit=limit)
        lines = chart.splitlines()
        assert max(map(len, lines)) <= width
        assert len(lines) == height + 2 + (limit is not None)
        assert "\x1b" not in chart
        assert chart == memory_chart(points, width=width, height=height, limit=limit)


def test_a_limit_is_a_line_that_the_curve_crosses_where_memory_reaches_it() -> None:
    points = [(4096, 4096 * PER_TOKEN), (32_768, 32_768 * PER_TOKEN)]
    chart = starred(memory_chart(points, width=60, height=9, limit=2 * GIB))
    (line,) = [row for row in chart if row.startswith("2 GiB ┼")]
    area = line.split("┼", 1)[1]
    middle = (area.index("*") + area.rindex("*")) / 2
    # 2 GiB are 16,384 tokens, 3/7 of the way from 4,096 to 32,768
    assert abs(middle - 3 / 7 * (len(area) - 1)) <= 2
    assert set(area) == {"╌", "*"}
    assert chart[-1].strip() == "╌╌ limit 2 GiB"


def test_a_limit_that_is_not_in_the_picture_is_named() -> None:
    far = memory_chart(DOUBLING, width=60, height=8, limit=80 * GIB)
    assert far.splitlines()[-1].strip() == "limit far above: 80 GiB"
    assert "╌" not in far
    none = memory_chart(DOUBLING, width=60, height=8, limit=-3 * GIB)
    assert none.splitlines()[-1].strip() == "limit below 0: -3 GiB"


def test_contexts_are_named_under_their_points_as_far_as_there_is_room() -> None:
    wide = memory_chart(DOUBLING, width=72, height=6).splitlines()[-1]
    assert wide.split() == ["1Ki", "2Ki", "4Ki", "8Ki", "16Ki", "32Ki"]
    many = [(number, number) for number in range(1000, 9001, 100)]
    narrow = memory_chart(many, width=40, height=6).splitlines()[-1].split()
    assert (narrow[0], narrow[-1]) == ("1k", "9k")
    assert len(narrow) < 12


@pytest.mark.parametrize(
    ("tokens", "label"),
    [
        *((1, "1"), (1500, "1,500"), (8000, "8k"), (8192, "8Ki"), (8193, "8,193"), (128_000, "128k")),
        *((131_072, "128Ki"), (10**6, "1M"), (2**20, "1Mi"), (10 * 2**20, "10Mi")),
    ],
)
def test_a_number_of_tokens_is_short_and_exact(tokens: int, label: str) -> None:
    assert token_label(tokens) == label


@pytest.mark.parametrize("points", [[], [(0, 1)], [(2, 1), (2, 2)], [(3, 1), (2, 2)]])
def test_points_that_make_no_curve_are_refused(points: list[tuple[int, int]]) -> None:
    with pytest.raises(ConfigError, match="contexts of at least 1 token that rise"):
        memory_chart(points, width=60, height=8)


@pytest.mark.parametrize(("width", "height"), [(39, 8), (60, 3)])
def test_a_chart_without_room_is_refused(width: int, height: int) -> None:
    with pytest.raises(ConfigError, match="no room"):
        memory_chart(DOUBLING, width=width, height=height)
