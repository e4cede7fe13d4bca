"""Byte streams in and out: `-` is stdin or stdout, zstd and gzip are known by their magic bytes.

Reading never looks at the suffix, so a compressed stream on stdin is read like a file. Writing follows the
suffix: `.zst` and `.gz` (`.zstd` and `.gzip`) compress, anything else is written as it is.
"""

import gzip
import io
import select
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import BinaryIO, cast

import zstandard

from llmkit.errors import DISK_FULL, DataError, MissingError
from llmkit.formats.atomic import atomic_file, refuse_existing
from llmkit.formats.magic import GZIP, ZSTD, ZSTD_SKIPPABLE, Compression, compression_in
from llmkit.formats.output_place import is_special

STDIO = Path("-")
STDOUT = "stdout"  # as errors call it
COMPRESSIONS: dict[str, Compression] = {".zst": "zstd", ".zstd": "zstd", ".gz": "gzip", ".gzip": "gzip"}
READ_BYTES = 1 << 17  # compressed bytes at a time: bounds what one read can expand to


def is_stream(path: Path) -> bool:
    """Whether an input can be read only once, and has no name that says what is in it.

    It is stdin (`-`, `/dev/stdin`), a pipe of `<(COMMAND)` or one with a name, a device.
    """
    return path == STDIO or path == Path("/dev/stdin") or path.parent == Path("/dev/fd") or is_special(path)


def input_name(path: Path) -> str:
    """What people are told an input is called."""
    return "stdin" if path == STDIO else str(path)


def compression_of(path: Path) -> Compression | None:
    """How a file is compressed, by its name in any case."""
    return COMPRESSIONS.get(path.suffix.lower())


def plain_name(path: Path) -> str:
    """A file's name in lower case, without suffixes of compression."""
    name = PurePath(path.name.lower())
    while name.suffix in COMPRESSIONS:
        name = name.with_suffix("")
    return name.name


def input_bytes(paths: Iterable[Path]) -> int | None:
    """The sizes of some inputs together; None where one is a stream, which has none."""
    sizes = [None if is_stream(path) else path.stat().st_size for path in paths]
    return None if None in sizes else sum(size for size in sizes if size is not None)


@contextmanager
def open_input(path: Path) -> Iterator[BinaryIO]:
    """Open a file, or stdin for `-`, decompressed and buffered.

    Raises:
        MissingError: no such file, or stdin is closed.
        DataError: the path is a folder, or the compressed stream is cut short or damaged; an empty file whose
            name says compressed is one that was cut at its beginning.
    """
    if path == STDIO:
        if sys.stdin is None:
            raise MissingError("stdin: it is closed", hint="name a file, or pipe something in")
        yield from _decoded(cast(io.BufferedReader, sys.stdin.buffer), "stdin")
        return
    try:
        raw = path.open("rb")
    except FileNotFoundError:
        raise no_such_input(path) from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, a file was expected", hint=f"ls {path}") from None
    with raw:
        yield from _decoded(raw, str(path), is_packed=compression_of(path) is not None)


def require_inputs(paths: Iterable[Path]) -> None:
    """Find an input that is not there before any work; `-` always is.

    Raises:
        MissingError: there is one.
    """
    for path in paths:
        if path != STDIO and not path.exists():
            raise no_such_input(path)


def no_such_input(path: Path) -> MissingError:
    """That a file which was to be read is not there."""
    return MissingError(f"{path}: no such file", hint="check the path; - reads stdin")


def would_wait(path: Path) -> bool:
    """Whether more of an input may have to be waited for: it is stdin, and nothing new has come.

    What has been read ahead counts as nothing: a caller who asks before each record is at worst too patient.
    """
    if path != STDIO:
        return False
    try:
        readable, _, _ = select.select([sys.stdin.fileno()], [], [], 0)
    except io.UnsupportedOperation:  # what stands for stdin is in memory, all of it
        return False
    return not readable


def check_output(path: Path | None, *, force: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Check an output that `open_output` is to open later, before any work.

    Raises:
        UsageError: the file exists and `force` is off, or it is one of `inputs`, or cannot be written.
    """
    if path is not None and path != STDIO:
        refuse_existing(path, force=force, inputs=inputs, is_file=True)


@contextmanager
def open_output(path: Path | None, *, force: bool = False, inputs: Iterable[Path] = ()) -> Iterator[BinaryIO]:
    """Open an output: stdout for None or `-`, else an atomic file, compressed as its suffix says.

    Raises:
        UsageError: see `check_output`.
    """
    check_output(path, force=force, inputs=inputs)
    if path is None or path == STDIO:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except OSError as error:
            if error.errno in DISK_FULL and error.filename is None:
                error.filename = STDOUT
            raise
        return
    with atomic_file(path) as raw:
        compression = compression_of(path)
        if compression == "zstd":
            with zstandard.ZstdCompressor(level=3).stream_writer(raw, closefd=False) as stream:
                yield cast(BinaryIO, stream)
        elif compression == "gzip":
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as stream:  # no name, no date:
                yield cast(BinaryIO, stream)  # the same content gives the same bytes
        else:
            yield raw


def look_ahead(stream: BinaryIO, is_enough: Callable[[bytes], bool]) -> tuple[bytes, io.BufferedReader]:
    """The first bytes of a buffered stream, and a stream that still has them.

    A pipe may be slow: what is there at first can be a single byte.

    Args:
        stream: as `open_input` gives it.
        is_enough: whether some bytes tell what is asked; else more are waited for, up to READ_BYTES.
    """
    buffered = cast(io.BufferedReader, stream)
    head = buffered.peek()
    if not head or is_enough(head):
        return head, buffered
    head = buffered.read1(len(head))
    while len(head) < READ_BYTES and not is_enough(head) and (more := buffered.read1(READ_BYTES)):
        head += more
    return head, give_back(head, buffered)


def give_back(head: bytes, stream: BinaryIO) -> io.BufferedReader:
    """A stream that has some bytes which were read of another, and then what the other still has."""
    return io.BufferedReader(_GivenBack(head, cast(io.BufferedReader, stream)), READ_BYTES)


def is_terminal(path: Path | None) -> bool:
    """Whether writing to `path` (None or `-` for stdout) shows on a terminal: then flush every record."""
    return (path is None or path == STDIO) and sys.stdout.isatty()


def _decoded(raw: io.BufferedReader, name: str, *, is_packed: bool = False) -> Iterator[BinaryIO]:
    """Yield one decompressed reader over `raw`, and turn damage in the compression into a DataError.

    Args:
        is_packed: whether it is compressed by its name, so that something has to be there.
    """
    head, raw = look_ahead(raw, _tells_compression)
    head = head[:4]
    compression = compression_in(head)
    try:
        if is_packed and not _tells_compression(head):
            raise EOFError("it ends in its first bytes" if head else "it is empty")
        if compression == "zstd":
            yield cast(BinaryIO, io.BufferedReader(_ZstdFrames(raw), READ_BYTES))
        elif compression == "gzip":
            yield cast(BinaryIO, io.BufferedReader(gzip.GzipFile(fileobj=raw), READ_BYTES))
        else:
            yield cast(BinaryIO, raw)
    except (zstandard.ZstdError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(
            f"{name}: damaged or truncated compressed data ({error})", hint="fetch or write the file again"
        ) from error


def _tells_compression(head: bytes) -> bool:
    """Whether no more bytes are needed to know a magic number, or that there is none."""
    begun = (
        ZSTD.startswith(head)
        or GZIP.startswith(head)
        or (head[0] >> 4 == 5 and ZSTD_SKIPPABLE.startswith(head[1:]))
    )
    return len(head) >= 4 or not begun


class _GivenBack(io.RawIOBase):
    """A stream after some bytes that were read from it already."""

    def __init__(self, head: bytes, rest: io.BufferedReader) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        """Always: this is an input."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` with the first bytes, later with what comes behind them."""
        if not self._head:
            return self._rest.readinto1(buffer)
        count = min(len(buffer), len(self._head))
        buffer[:count] = self._head[:count]
        self._head = self._head[count:]
        return count


class _ZstdFrames(io.RawIOBase):
    """Frame after frame of a zstd stream, skippable frames passed over; a missing end is an EOFError.

    python-zstandard's own `stream_reader` ends a cut stream in silence, which would pass for a short file.
    """

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._compressed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """Always: this is an input."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` with decompressed bytes; 0 at the end of the last whole frame."""
        while not self._ready:
            if not self._compressed:
                self._compressed = self._raw.read(READ_BYTES)
                if not self._compressed:
                    if self._frame is not None:
                        raise EOFError("the last zstd frame is cut short")
                    return 0
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
            self._ready = memoryview(self._frame.decompress(self._compressed))
            if self._frame.eof:
                self._compressed = self._frame.unused_data
                self._frame = None
            else:
                self._compressed = b""
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count
