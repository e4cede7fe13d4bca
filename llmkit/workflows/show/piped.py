"""One JSON object from a pipe in the place of JSON lines: a config, a tokenizer, a report."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import msgspec

from llmkit.errors import LlmkitError, UsageError
from llmkit.formats.jsonl import BYTE_ORDER_MARK, MALFORMED
from llmkit.formats.streams import give_back
from llmkit.workflows.artefact import FOLDERS, Artefact, kind_of_object, unknown_object

_MOST_BYTES = 256 << 20
"""Of an object: a tokenizer's are tens of MiB. What is longer is read as lines."""


@contextmanager
def piped_object(stream: BinaryIO, name: str) -> Iterator[tuple[Artefact | None, BinaryIO]]:
    """Yield the artefact that a pipe's JSON object is, in a temporary file; or None, and all of the stream.

    An object on one line that is nothing else may be a record.

    Args:
        stream: as `open_input` gives it.
        name: of the pipe, for errors: those of what reads the file name it too.

    Raises:
        UsageError: it speaks for a folder, which a pipe has not.
        DataError: an object over several lines is nothing that llmkit knows.
    """
    head, content = _read_object(stream)
    kind = None if content is None else kind_of_object(content)
    if content is None or (kind is None and head.strip().count(b"\n") == 0):
        yield None, give_back(head, stream)
        return
    if kind is None:
        raise unknown_object(name, content)
    if kind in FOLDERS:
        raise UsageError(f"{name}: a file that speaks for its folder ({kind})", hint="name the folder")
    with TemporaryDirectory(prefix="llmkit-show-") as folder:
        path = Path(folder) / f"{kind}.json"
        path.write_bytes(head.removeprefix(BYTE_ORDER_MARK))
        try:
            yield Artefact(kind, path), stream
        except LlmkitError as error:
            error.problem = error.problem.replace(str(path), name)
            error.args = (error.problem,)
            error.hint = error.hint.replace(str(path), "FILE")
            raise


def _read_object(stream: BinaryIO) -> tuple[bytes, dict[str, Any] | None]:
    """What was read, and the object that it is where nothing else follows."""
    head = line = stream.readline(_MOST_BYTES)
    while line.isspace():
        head += (line := stream.readline(_MOST_BYTES))
    if not head.removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"{"):
        return head, None
    is_record = _object(head) is not None
    head += stream.read(1 if is_record else _MOST_BYTES)
    return head, _object(head)


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(content.removeprefix(BYTE_ORDER_MARK), type=dict[str, Any])
    except MALFORMED:
        return None
