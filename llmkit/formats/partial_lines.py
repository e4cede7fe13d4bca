"""Lines of JSON in OUT.partial, where a run that is stopped leaves them for the next, until OUT is whole.

The first line is a header. A last line without its line feed was torn off when the run ended: it is no line.
Beside a whole OUT stays `.OUT.done`, the header with OUT's digest: the same line run again finds it done.
"""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from llmkit.errors import UsageError
from llmkit.formats.atomic import write_atomic
from llmkit.formats.digest import digest_file
from llmkit.formats.jsonl import encode_line
from llmkit.formats.lock import open_locked
from llmkit.formats.streams import open_output


class Header(msgspec.Struct, frozen=True):
    """The first line."""

    schema: str
    settings_sha256: str
    """Digest of all that decides what the lines say."""


class Done(msgspec.Struct, frozen=True):
    """What made an output."""

    header: Header
    out_sha256: str
    """Of the output: another file may have taken its place since."""


def partial_path(out: Path) -> Path:
    """Where the lines of an output are until it is whole."""
    return out.with_name(f"{out.name}.partial")


def lock_partial(partial: Path, *, hint: str) -> BinaryIO:
    """The file, made if need be, for this process alone until it is closed.

    Raises:
        UsageError: another process has it; with the hint.
    """
    partial.parent.mkdir(parents=True, exist_ok=True)
    stream = open_locked(partial)
    if stream is None:
        raise UsageError(f"{partial}: another run writes it now", hint=hint)
    return stream


def whole_lines(partial: Path) -> Iterator[bytes]:
    """All lines that were not torn off, the header first."""
    with partial.open("rb") as stream:
        for content in stream:
            if content.endswith(b"\n"):
                yield content


def begin_partial(stream: BinaryIO, end: int, header: Header) -> None:
    """Make the file ready for more lines behind its first `end` bytes; without any, write the header."""
    stream.truncate(end)
    if not end:
        stream.write(encode_line(header))
        stream.flush()


def finish_partial(partial: Path, out: Path, *, force: bool, inputs: Iterable[Path]) -> None:
    """Write all lines but the header to the output, note what made it, and remove the file.

    Raises:
        UsageError: see `open_output`.
    """
    with partial.open("rb") as lines:
        header = msgspec.json.decode(next(lines), type=Header)
        with open_output(out, force=force, inputs=inputs) as whole:
            shutil.copyfileobj(lines, whole)
    if out.is_file():  # what went to a pipe is nobody's to find
        write_atomic(_done_path(out), encode_line(Done(header, digest_file(out))))
    partial.unlink()


def may_be_done(out: Path) -> bool:
    """Whether an output is there that a run like these has ended; see `is_done`."""
    return out.is_file() and _done_path(out).is_file()


def is_done(out: Path, header: Header) -> bool:
    """Whether the output is as a run with this header has left it when it was whole."""
    if not may_be_done(out):
        return False
    try:
        done = msgspec.json.decode(_done_path(out).read_bytes(), type=Done)
    except msgspec.MsgspecError:
        return False
    return done.header == header and done.out_sha256 == digest_file(out)


def _done_path(out: Path) -> Path:
    return out.with_name(f".{out.name}.done")
