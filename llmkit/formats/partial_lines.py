"""Lines of JSON in OUT.partial, where a run that is stopped leaves them for the next, until OUT is whole.

The first line is a header. A last line without its line feed was torn off when the run ended: it is no line.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from llmkit.errors import UsageError
from llmkit.formats.jsonl import encode_line
from llmkit.formats.lock import open_locked
from llmkit.formats.streams import open_output


class Header(msgspec.Struct, frozen=True):
    """The first line."""

    schema: str
    settings_sha256: str
    """Digest of all that decides what the lines say."""


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
    """Write all lines but the header to the output, and remove the file.

    Raises:
        UsageError: see `open_output`.
    """
    with open_output(out, force=force, inputs=inputs) as whole, partial.open("rb") as lines:
        next(lines)
        whole.writelines(lines)
    partial.unlink()
