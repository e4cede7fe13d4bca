"""Tables within the width of a terminal."""

import pytest

from llmkit.commands.table import table_lines
from llmkit.commands.terminal import columns_of

HEADS = [("head", "entropy", "span", "class"), ("0.1", "0.70", "2.2", "sink"), ("0.12", "1.25", "14.0", "")]


def test_a_table_that_has_room_has_a_line_a_row() -> None:
    expected = ["head  entropy  span  class", " 0.1     0.70   2.2  sink", "0.12     1.25  14.0"]
    assert table_lines(HEADS, right=(0, 1, 2)) == expected
    assert table_lines(HEADS, right=(0, 1, 2), room=26) == expected


def test_what_a_line_has_no_room_for_goes_on_below_in_columns_of_its_own() -> None:
    assert table_lines(HEADS, right=(0, 1, 2), room=20) == [
        "head  entropy  span",
        "  class",
        " 0.1     0.70   2.2",
        "  sink",
        "0.12     1.25  14.0",
    ]


def test_a_text_that_ends_a_row_is_wrapped_in_its_column_and_its_words_stay_whole() -> None:
    rows = [("memory", "1.0 GiB of 19.1 GiB"), ("peak", "40 GFLOP/s (measured matmul float32, 768 x 768)")]
    assert table_lines(rows, room=32) == [
        "memory  1.0 GiB of 19.1 GiB",
        "peak    40 GFLOP/s (measured",
        "        matmul float32, 768 x",
        "        768)",
    ]


def test_a_text_beside_which_there_is_little_room_goes_below() -> None:
    rows = [("weights", "1,040,128", "260,032 parameters in float32"), ("total", "1,695,488", "fits")]
    assert table_lines(rows, right=(1,), room=30) == [
        "weights  1,040,128",
        "  260,032 parameters in",
        "  float32",
        "total    1,695,488",
        "  fits",
    ]


def test_a_name_wider_than_the_room_stays_whole() -> None:
    rows = [("model.layers.0.input_layernorm.weight", "F32", "64"), ("norm", "BF16", "8")]
    assert table_lines(rows, right=(2,), room=20) == [
        "model.layers.0.input_layernorm.weight",
        "  F32   64",
        "norm",
        "  BF16   8",
    ]


@pytest.mark.parametrize("room", range(12, 60))
def test_no_cell_is_lost_broken_or_beyond_the_room(room: int) -> None:
    rows = [(f"日本{n}", "1.25 GiB", f"{10**n:,}", "no word of this is broken") for n in range(6)]
    lines = table_lines(rows, right=(1, 2), room=room)
    assert max(map(columns_of, lines)) <= max(room, 22)  # a text gets 20 columns, and its margin
    assert sorted(" ".join(lines).split()) == sorted(" ".join(map(" ".join, rows)).split())
