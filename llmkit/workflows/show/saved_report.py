"""What an earlier command has reported with --json, and what it noted in a folder's `llmkit.json`."""

from pathlib import Path
from typing import Any

import msgspec

from llmkit.formats.flattened import flattened
from llmkit.formats.streams import open_input


class SavedReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report that was kept in a file."""

    schema: str = "llmkit.show/1"
    kind: str = "report"
    path: str
    of: str
    """The `schema` that it names: which command it is from, and in which form."""
    values: dict[str, Any]
    """Its other keys, those of objects by the way to them: `quality.kld`."""


def show_saved_report(path: Path) -> SavedReport:
    """A file that `recognise` calls a report."""
    with open_input(path) as stream:
        content = msgspec.json.decode(stream.read(), type=dict[str, Any])
    return SavedReport(path=str(path), of=content.pop("schema"), values=flattened(content))
