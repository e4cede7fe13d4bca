"""Parquet rows as records, some of them in memory at a time; needs the extra `[parquet]`.

A row becomes what the same row would be as a line of jsonl: columns in their order, times as RFC 3339 (see
`parquet_rows`), bytes as base64 but for the text's, not-a-number as null.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.jsonl import BadLine, Line, OnBad, encode_line, raw
from llmkit.formats.parquet_rows import Row, rows_of
from llmkit.formats.streams import is_stream

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

BATCH_BYTES = 8 << 20  # decoded, by the file's own account: what one batch of rows may take
BATCH_ROWS = 1024


def is_parquet(path: Path) -> bool:
    """Whether a path's name says parquet."""
    return path.suffix.lower() in (".parquet", ".pq")


def read_parquet(path: Path, *, text_field: str = "text", on_bad: OnBad | None = None) -> Iterator[Line]:
    """The rows of a parquet file as records; `number` is the row's place in the whole file, from 1.

    Args:
        path: the file; a parquet file cannot be read from a pipe, its index stands at the end.
        text_field: the column of the text: where it is of bytes they are its UTF-8.
        on_bad: called with each row whose text is not UTF-8, which is then skipped; None: it is an error.

    Raises:
        MissingError: no such file, or pyarrow is not installed.
        DataError: not a parquet file, or a damaged one; a text that is not UTF-8.
        UsageError: `-`, or a pipe.
    """
    import pyarrow

    with _opened(path) as file:
        number = 1
        for group in range(file.num_row_groups):
            facts = file.metadata.row_group(group)
            each = max(1, facts.total_byte_size // max(1, facts.num_rows))
            rows = max(1, min(BATCH_ROWS, BATCH_BYTES // each))
            try:
                for batch in file.iter_batches(batch_size=rows, row_groups=[group], use_threads=False):
                    for row, bad in rows_of(batch):
                        problem = f'"{bad}" is not UTF-8' if bad else _decode_text(row, text_field)
                        if problem is None:
                            yield Line({key: raw(value) for key, value in row.items()}, str(path), number)
                        elif on_bad is None:
                            raise DataError(
                                f"{path}:{number}: {problem}", hint="pass over bad rows with --skip-bad"
                            )
                        else:
                            on_bad(BadLine(encode_line(row)[:-1], str(path), number, problem))
                        number += 1
            except (pyarrow.ArrowException, OSError) as error:
                raise _damaged(path, error) from None


def _decode_text(row: Row, text_field: str) -> str | None:
    """Put text in the place of the bytes of a text; what is wrong with them, if they are none."""
    content = row.get(text_field)
    if isinstance(content, bytes):
        try:
            row[text_field] = content.decode()
        except UnicodeDecodeError as error:
            return f'"{text_field}" is not UTF-8 (found byte 0x{content[error.start]:02x} at {error.start})'
    return None


def _opened(path: Path) -> "ParquetFile":
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise MissingError(
            f"{path}: parquet needs the package pyarrow", hint="pip install 'llmkit[parquet]'"
        ) from None
    if is_stream(path):
        raise UsageError("stdin: parquet cannot be piped, its index is at the end", hint="name the file")
    try:
        return ParquetFile(path, pre_buffer=False)
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file", hint="check the path") from None
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Any) -> DataError:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(
        f"{path}: not a parquet file, or a damaged one ({first})", hint="fetch or write it again"
    )
