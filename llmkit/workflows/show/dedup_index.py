"""What `llmkit dedup --save-index` has kept of some documents."""

from pathlib import Path
from typing import Any

import msgspec

from llmkit.workflows.dedup.index import read_note


class DedupIndexReport(msgspec.Struct, frozen=True, kw_only=True):
    """An index of documents to compare others with."""

    schema: str = "llmkit.show/1"
    kind: str = "dedup-index"
    path: str
    documents: int
    sources: list[str]
    """Where they are from."""
    by: str
    """What makes a duplicate."""
    made_with: dict[str, Any]
    """The settings that whatever is compared must have in common."""
    algorithm: str
    size_bytes: int


def show_dedup_index(folder: Path) -> DedupIndexReport:
    """An index of `llmkit dedup`.

    Raises:
        DataError: it is damaged, or of another algorithm.
    """
    note = read_note(folder)
    return DedupIndexReport(
        path=str(folder),
        documents=note.documents,
        sources=list(note.sources),
        by=str(note.made_with.get("by")),
        made_with={name: value for name, value in note.made_with.items() if name != "by"},
        algorithm=note.algorithm,
        size_bytes=sum(one.stat().st_size for one in folder.iterdir() if one.is_file()),
    )
