"""Values that Python has no type for, as they come out of a batch."""

import datetime
import json

import msgspec
import pytest

from llmkit.formats.parquet_rows import rows_of

pyarrow = pytest.importorskip("pyarrow")


def values_of(array: object) -> list[object]:
    rows = [row for row, bad in rows_of(pyarrow.record_batch({"x": array})) if bad is None]
    return [one["x"] for one in json.loads(msgspec.json.encode(rows))]


@pytest.mark.parametrize(
    ("counts", "kind", "values"),
    [
        ([1_700_000_000_123_456_789, None], ("timestamp", "ns"), ["2023-11-14T22:13:20.123456789", None]),
        ([-1], ("timestamp", "ns", "UTC"), ["1969-12-31T23:59:59.999999999Z"]),
        ([1], ("timestamp", "ns", "+01:00"), ["1970-01-01T01:00:00.000000001+01:00"]),
        ([5_000_000], ("timestamp", "ns", "UTC"), ["1970-01-01T00:00:00.005000Z"]),
        ([2**61, 0], ("timestamp", "us"), [2**61, "1970-01-01T00:00:00"]),
        ([3_000_000, 0], ("date32",), [3_000_000, "1970-01-01"]),
        ([3_723_000_000_001, 0], ("time64", "ns"), ["01:02:03.000000001", "00:00:00"]),
        ([-1_500_000_001], ("duration", "ns"), ["-PT1.500000001S"]),
    ],
)
def test_no_digit_of_a_time_is_lost(
    counts: list[int | None], kind: tuple[str, ...], values: list[object]
) -> None:
    assert values_of(pyarrow.array(counts, getattr(pyarrow, kind[0])(*kind[1:]))) == values


def test_times_within_lists_structs_and_maps_are_read_too() -> None:
    nanos = pyarrow.timestamp("ns")
    nested = pyarrow.struct([("a", pyarrow.list_(nanos)), ("b", pyarrow.map_(pyarrow.string(), nanos))])
    one = "1970-01-01T00:00:00.000000001"
    assert values_of(pyarrow.array([{"a": [1, None], "b": [("k", 1)]}, None], nested)) == [
        {"a": [one, None], "b": [["k", one]]},
        None,
    ]


def test_whole_microseconds_are_the_same_in_either_unit() -> None:
    when = [datetime.datetime(2024, 4, 25, 1, 2, 3, 456789, tzinfo=datetime.UTC), None]
    units = [pyarrow.array(when, pyarrow.timestamp(unit, "Europe/Berlin")) for unit in ("us", "ns")]
    assert values_of(units[0]) == values_of(units[1])
