"""What a GGUF or a safetensors file says of itself in keys and values."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import UsageError
from llmkit.formats.gguf.header import read_gguf_header
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.model_folder import read_header
from llmkit.workflows.artefact import recognise


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One key, as `show --metadata` lists it."""

    key: str
    type: str
    """GGUF's word: u32, str, and str[] of an array; always str in a safetensors file."""
    value: Any


def metadata_of(path: Path) -> Iterator[Entry]:
    """Every key of a file, in its order; arrays are whole.

    Raises:
        UsageError: it is another kind of artefact.
        MissingError, DataError: it is not there, or damaged.
    """
    artefact = recognise(path)
    if is_gguf(artefact.path):
        header = read_gguf_header(artefact.path, keep_arrays=True)
        for key, value in header.metadata.items():
            yield Entry(key=key, type=header.kinds[key], value=_spelled_out(value))
    elif artefact.kind == "safetensors":
        for key, text in read_header(artefact.path).metadata.items():
            yield Entry(key=key, type="str", value=text)
    else:
        raise UsageError(
            f"{artefact.path}: no keys and values (found: {artefact.kind})",
            hint="give a GGUF or a safetensors file; a folder has its own in config.json",
        )


def _spelled_out(value: Any) -> Any:
    """A value that JSON can hold: bytes that are no UTF-8 stand as \\xNN."""
    if isinstance(value, list):
        return [_spelled_out(one) for one in value]
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return value
