import math
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from typer import BadParameter

from llmkit.commands.values import (
    ShownCount,
    format_bytes,
    format_count,
    format_left,
    format_need,
    format_seconds,
    format_size,
    parse_count,
    parse_finite,
    parse_seconds,
    parse_share,
    parse_size,
    short_count,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("512", 512), ("64k", 64_000), ("64K", 64_000), ("64Ki", 65_536), ("2M", 2_000_000)),
        *(("1.5G", 1_500_000_000), ("24GiB", 24 << 30), ("24GB", 24_000_000_000), ("1e9", 10**9)),
        *(
            ("1_000", 1000),
            ("1,000", 1000),
            (" 7 ", 7),
            ("2T", 2 * 10**12),
            (".5k", 500),
            (9, 9),
            (1e9, 10**9),  # 1e9 in a settings file
            ("9007199254740993", (1 << 53) + 1),  # no float has it
        ),
    ],
)
def test_counts_read_as_people_type_them(text: str | float, value: int) -> None:
    assert parse_count(text) == value and type(parse_count(text)) is int


def test_a_comma_parts_thousands_and_no_decimals() -> None:
    for text, value in (("12,345,678", 12_345_678), ("1,500k", 1_500_000), ("1,000.5k", 1_000_500)):
        assert parse_count(text) == value
    for text in (
        "1,5k",
        "1,5",
        "0,25M",
        "12,34",
        "1,0000",
        "1234,567",
        "1,000,",
        ",500",
        "1.000,5",
        "1,,000",
    ):
        with pytest.raises(BadParameter, match="a comma parts thousands"):
            parse_count(text)


def test_a_b_alone_is_bytes_of_a_size_and_no_number_of_tokens() -> None:
    assert parse_size("512B") == 512 and parse_size("1.5kB") == parse_count("1.5kB") == 1500
    for text, meant in (("1B", "1G"), ("7b", "7G"), ("1.5 B", "1.5G")):
        with pytest.raises(BadParameter, match=f"may be bytes or billions; {meant} is billions"):
            parse_count(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        *((512, "512"), (8000, "8000"), (65_536, "64Ki"), (4 << 30, "4Gi"), (10**6, "1M")),
        *((5 * 10**9, "5G"), (1_500_000, "1500k"), (12_345, "12345"), (2 * 10**12, "2T"), (0, "0")),
    ],
)
def test_a_round_count_is_shown_as_it_may_be_typed(count: int, text: str) -> None:
    assert short_count(count) == text and parse_count(text) == count
    assert f"{ShownCount(count)!s}" == text and ShownCount(count) == count
    assert type(parse_count(ShownCount(count))) is int


@pytest.mark.parametrize(
    "text", ["", "k", "1.5", "-3", "12q", "5i", "1e", "0x10", "64 000 k b", "1e999", "7bb", "7bi"]
)
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(BadParameter):
        parse_count(text)


@pytest.mark.parametrize("value", [1.5, math.nan, math.inf, -1, -1.0])
def test_a_number_of_a_settings_file_that_is_no_count_is_refused(value: float) -> None:
    with pytest.raises(BadParameter, match="is not a"):
        parse_count(value)


@pytest.mark.parametrize("value", [True, False, [64], {"a": 1}, date(2020, 1, 1), None])
@pytest.mark.parametrize("parse", [parse_count, parse_size, parse_finite, parse_seconds, parse_share])
def test_what_a_settings_file_has_in_place_of_a_number_is_refused_by_each(
    parse: Callable[[Any], object], value: object
) -> None:
    with pytest.raises(BadParameter, match="is not a"):
        parse(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172_800), (3, 3.0), ("1e-05", 1e-05)],
)
def test_times_read_with_their_units(text: str, value: float) -> None:
    assert parse_seconds(text) == value


@pytest.mark.parametrize("text", ["", "soon", "5w", "-1s", "nan", "inf", "1e999", math.nan, math.inf, -1])
def test_what_is_no_time_is_refused(text: str | float) -> None:
    with pytest.raises(BadParameter):
        parse_seconds(text)


def test_a_share_is_some_percent_or_a_part_of_one_and_may_be_all() -> None:
    assert parse_share("10%") == parse_share("0.1") == parse_share(0.1) == 0.1
    assert [parse_share(one) for one in ("0", "1", "100%")] == [0, 1, 1]
    for wrong in ("ten", "200%", "-1%", "10", "nan", "nan%", "inf"):
        with pytest.raises(BadParameter):
            parse_share(wrong)


def test_figures_are_short_for_people() -> None:
    assert [format_bytes(n) for n in (1023, 1.5 * 2**30)] == ["1023 B", "1.5 GiB"]
    assert [format_count(n) for n in (999, 1000, 1_230_000, 2e12)] == ["999", "1k", "1.23M", "2T"]
    assert [format_count(n) for n in (999_499, 999_500, 999_999_999)] == ["999k", "1M", "1G"]
    assert [format_seconds(n) for n in (1.44, 200, 7500)] == ["1.4 s", "3 m 20 s", "2 h 05 m"]


def test_what_is_needed_is_told_beside_what_is_there_where_that_is_known() -> None:
    assert format_need(1 << 30, 16 << 30, "available") == "1.0 GiB of 16.0 GiB available"
    assert format_need(1 << 30, None, "available") == "1.0 GiB"
    assert format_size(1 << 30) == "1.0 GiB (1,073,741,824 bytes)"


def test_a_bound_is_a_finite_number() -> None:
    assert (parse_finite("3.5"), parse_finite("-1e3"), parse_finite(2.0)) == (3.5, -1000.0, 2.0)
    for text, told in (
        ("nan", "not a finite number"),
        ("-inf", "not a finite"),
        ("low", "not a number such"),
    ):
        with pytest.raises(BadParameter, match=f"'{text}' is {told}"):
            parse_finite(text)


def test_what_is_left_goes_at_the_pace_since_the_work_began() -> None:
    assert format_left((100.0, 10.0), (130.0, 40.0), 100.0) == "  1 m 00 s left"  # a second each
    assert format_left((100.0, 10.0), (130.0, 10.0), 100.0) == ""
    assert format_left(None, (130.0, 10.0), 100.0) == ""
