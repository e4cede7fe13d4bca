import pytest

from llmkit.formats.amount_text import format_bytes, format_count, plural, round_step


def test_sizes_are_short_for_people() -> None:
    assert [format_bytes(n) for n in (0, 1023, 1024, 1.5 * 2**30, 2**50)] == [
        *("0 B", "1023 B", "1.0 KiB", "1.5 GiB", "1024.0 TiB")
    ]


def test_a_size_that_rounds_to_1024_is_one_of_the_next_unit() -> None:
    assert [format_bytes(n) for n in (1023, 2**20 - 52, 2**20 - 51, 2**30 - 1, 2**40 - 1, -(2**30) + 1)] == [
        *("1023 B", "1023.9 KiB", "1.0 MiB", "1.0 GiB", "1.0 TiB", "-1.0 GiB")
    ]


def test_counts_are_short_for_people() -> None:
    assert [format_count(n) for n in (0, 999, 1000, 1_230_000, 999_999_999, 2e12, 5e16)] == [
        *("0", "999", "1k", "1.23M", "1G", "2T", "5e+04T")
    ]


@pytest.mark.parametrize(
    ("least", "step"), [(1, 1), (1.01, 2), (2, 2), (3, 5), (5.004, 5), (7, 10), (0.03, 0.05), (1500, 2000)]
)
def test_a_round_step_is_the_smallest_that_is_wide_enough(least: float, step: float) -> None:
    assert round_step(least) == pytest.approx(step, rel=1e-12)


def test_a_count_of_things_is_told_with_their_name_for_one_or_for_many() -> None:
    assert [plural(n, "row") for n in (0, 1, 2, 1000)] == ["0 rows", "1 row", "2 rows", "1,000 rows"]
