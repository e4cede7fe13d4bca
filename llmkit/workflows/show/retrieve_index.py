"""What `llmkit retrieve index` has made of some documents."""

from pathlib import Path
from typing import Any

import msgspec

from llmkit.workflows.retrieve.index_file import open_index

_FIRST = 4


class RetrieveIndexReport(msgspec.Struct, frozen=True, kw_only=True):
    """An index of passages to search."""

    schema: str = "llmkit.show/1"
    kind: str = "retrieve-index"
    path: str
    documents: int
    passages: int
    first_ids: list[str]
    """Of documents, as `--delete` takes them."""
    settings: dict[str, Any]
    """How passages are cut."""
    embedding: str | None
    """The model or server of its vectors; None: it has none."""
    embedding_width: int | None
    size_bytes: int


def show_retrieve_index(path: Path) -> RetrieveIndexReport:
    """An index of `llmkit retrieve`.

    Raises:
        DataError: it is damaged, or another program's database.
    """
    with open_index(path) as store:
        embedding = msgspec.json.decode(store.setting("embedding") or "{}", type=dict[str, Any])
        return RetrieveIndexReport(
            path=str(path),
            documents=store.num_documents,
            passages=store.num_passages,
            first_ids=store.first_ids(_FIRST),
            settings=store.settings,
            embedding=embedding.get("url") or embedding.get("model"),
            embedding_width=embedding.get("width"),
            size_bytes=path.stat().st_size,
        )
