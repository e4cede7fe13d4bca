"""Rows of parquet and Arrow as records, some of them in memory at a time; needs the extra `[parquet]`.

A row becomes what the same row would be as a line of jsonl: columns in their order, times as RFC 3339 (see
`parquet_rows`), bytes as base64 but for the text's, not-a-number as null.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.jsonl import BadLine, Line, OnBad, encode_line, raw
from llmkit.formats.magic import ARROW_FILE
from llmkit.formats.parquet_rows import Row, rows_of
from llmkit.formats.streams import is_stream

BATCH_BYTES = 8 << 20  # decoded, by the file's own account: what one batch of rows may take
BATCH_ROWS = 1024
_ARROW = ".arrow"


def is_parquet(path: Path) -> bool:
    """Whether a path's name says parquet, or Arrow."""
    return path.suffix.lower() in (".parquet", ".pq", _ARROW)


def read_parquet(path: Path, *, text_field: str = "text", on_bad: OnBad | None = None) -> Iterator[Line]:
    """The rows of a file as records; `number` is the row's place in the whole file, from 1.

    Args:
        path: the file; a parquet file cannot be read from a pipe, its index stands at the end.
        text_field: the column of the text: where it is of bytes they are its UTF-8.
        on_bad: called with each row whose text is not UTF-8, which is then skipped; None: it is an error.

    Raises:
        MissingError: no such file, or pyarrow is not installed.
        DataError: neither parquet nor Arrow, as its name says, or damaged; a text that is not UTF-8.
        UsageError: `-`, or a pipe.
    """
    pyarrow = _library(path)
    if is_stream(path):
        raise UsageError("stdin: parquet cannot be piped, its index is at the end", hint="name the file")
    number = 1
    batches = _arrow_batches if path.suffix.lower() == _ARROW else _parquet_batches
    try:
        for row, bad in (found for batch in batches(path) for found in rows_of(batch)):
            problem = f'"{bad}" is not UTF-8' if bad else _decode_text(row, text_field)
            if problem is None:
                yield Line({key: raw(value) for key, value in row.items()}, str(path), number)
            elif on_bad is None:
                raise DataError(f"{path}:{number}: {problem}", hint="pass over bad rows with --skip-bad")
            else:
                on_bad(BadLine(encode_line(row)[:-1], str(path), number, problem))
            number += 1
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file", hint="check the path") from None
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _parquet_batches(path: Path) -> Iterator[Any]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path, pre_buffer=False) as file:
        for group in range(file.num_row_groups):
            facts = file.metadata.row_group(group)
            rows = _rows_at_a_time(facts.total_byte_size, facts.num_rows)
            yield from file.iter_batches(batch_size=rows, row_groups=[group], use_threads=False)


def _arrow_batches(path: Path) -> Iterator[Any]:
    from pyarrow import ipc

    with path.open("rb") as stream:
        is_file = stream.read(len(ARROW_FILE)) == ARROW_FILE
        stream.seek(0)
        reader = ipc.open_file(stream) if is_file else ipc.open_stream(stream)
        for batch in map(reader.get_batch, range(reader.num_record_batches)) if is_file else reader:
            rows = _rows_at_a_time(batch.nbytes, batch.num_rows)
            for start in range(0, batch.num_rows, rows):
                yield batch.slice(start, rows)


def _rows_at_a_time(size_bytes: int, rows: int) -> int:
    each = max(1, size_bytes // max(1, rows))
    return max(1, min(BATCH_ROWS, BATCH_BYTES // each))


def _decode_text(row: Row, text_field: str) -> str | None:
    """Put text in the place of the bytes of a text; what is wrong with them, if they are none."""
    content = row.get(text_field)
    if isinstance(content, bytes):
        try:
            row[text_field] = content.decode()
        except UnicodeDecodeError as error:
            return f'"{text_field}" is not UTF-8 (found byte 0x{content[error.start]:02x} at {error.start})'
    return None


def _library(path: Path) -> Any:
    try:
        import pyarrow
    except ImportError:
        raise MissingError(
            f"{path}: parquet needs the package pyarrow", hint="pip install 'llmkit[parquet]'"
        ) from None
    return pyarrow


def _damaged(path: Path, error: Any) -> DataError:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    kind = "an Arrow" if path.suffix.lower() == _ARROW else "a parquet"
    return DataError(f"{path}: not {kind} file, or a damaged one ({first})", hint="fetch or write it again")
