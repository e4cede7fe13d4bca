"""The rows of a batch of parquet as Python values, those too that Python has no value for.

A time with nanoseconds becomes RFC 3339 with all nine digits, a duration the same in ISO 8601; a date or time
beyond the years 1 to 9999 the integer that stands in the file.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANO = 10**9
_NOT_UTF8 = object()

Row = dict[str, Any]


def rows_of(batch: Any) -> Iterator[tuple[Row, str | None]]:
    """Each row of a RecordBatch, and the name of a column whose text is not UTF-8, which it then lacks."""
    columns = {name: _values(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    for number in range(batch.num_rows):
        row = {name: values[number] for name, values in columns.items()}
        bad = [name for name, value in row.items() if value is _NOT_UTF8]
        for name in bad:
            del row[name]
        yield row, bad[-1] if bad else None


def _values(column: Any) -> list[Any]:
    """Of all rows; each is looked at by itself where Python has none for some."""
    if not _has_nanoseconds(column.type):
        try:
            found: list[Any] = column.to_pylist()
            return found
        except (ValueError, OverflowError):
            pass
    return [_value_or_not(scalar) for scalar in column]


def _value_or_not(scalar: Any) -> Any:
    try:
        return _value(scalar)
    except UnicodeDecodeError:
        return _NOT_UTF8


def _has_nanoseconds(kind: Any) -> bool:
    if getattr(kind, "unit", None) == "ns":
        return True
    if hasattr(kind, "value_type") and _has_nanoseconds(kind.value_type):
        return True
    return any(_has_nanoseconds(kind.field(number).type) for number in range(kind.num_fields))


def _value(scalar: Any) -> Any:
    """A scalar of pyarrow's as Python has it, or as the module says."""
    from pyarrow import types

    kind = scalar.type
    if not scalar.is_valid:
        return None
    if types.is_struct(kind):
        return {name: _value(one) for name, one in scalar.items()}
    if types.is_map(kind):
        return [(_value(pair["key"]), _value(pair["value"])) for pair in scalar.values]
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return [_value(one) for one in scalar.values]
    if types.is_dictionary(kind):
        return _value(scalar.value)
    if getattr(kind, "unit", None) == "ns":
        return _of_nanoseconds(scalar)
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        raise
    except (ValueError, OverflowError):
        if not types.is_temporal(kind):
            raise
        return scalar.value


def _of_nanoseconds(scalar: Any) -> Any:
    """A time, a time of day or a duration; of whole microseconds it is Python's own."""
    from pyarrow import types
    from pyarrow.lib import string_to_tzinfo

    kind, count = scalar.type, scalar.value
    count = count if isinstance(count, int) else int(count)
    micros, rest = divmod(count, 1000)
    if types.is_duration(kind):
        if not rest:
            return timedelta(microseconds=micros)
        seconds, part = divmod(abs(count), _NANO)
        return f"{'-' if count < 0 else ''}PT{seconds}.{part:09d}S"
    when = _EPOCH + timedelta(microseconds=micros)
    if types.is_time(kind):
        return when.time() if not rest else f"{when:%H:%M:%S}.{count % _NANO:09d}"
    zone = None if kind.tz is None else string_to_tzinfo(kind.tz)
    when = when.replace(tzinfo=None) if zone is None else when.astimezone(zone)
    if not rest:
        return when
    whole = str(msgspec.to_builtins(when.replace(microsecond=0)))  # 2024-01-02T03:04:05, then Z or +01:00
    return f"{whole[:19]}.{count % _NANO:09d}{whole[19:]}"
