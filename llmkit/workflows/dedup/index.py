"""An index of documents to compare others with: what they are known by, without their texts.

INDEX/index.json          what it was made with; nothing else can be compared with it
INDEX/documents.facts     as `corpus.py` has them, like .ids and .bands
INDEX/documents.sets      by near: the shingles of each, as `shingles.py` has them, like .counts
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError, MissingError
from llmkit.formats.atomic import atomic_folder
from llmkit.formats.json_text import json_text
from llmkit.text.minhash import ALGORITHM
from llmkit.workflows.dedup.corpus import BLOCK, FACTS, Corpus
from llmkit.workflows.dedup.options import DedupConfig
from llmkit.workflows.dedup.shingles import ShingleStore
from llmkit.workflows.dedup.signed import INDEX_STEM

SCHEMA = "llmkit.dedup-index/1"
FILE_NAME = "index.json"


class IndexNote(msgspec.Struct, frozen=True):
    """`index.json`."""

    schema: str
    algorithm: str
    made_with: dict[str, Any]
    documents: int
    sources: tuple[str, ...]


def read_index(folder: Path, config: DedupConfig) -> IndexNote:
    """What an index says of itself, if it was made with these settings.

    Raises:
        MissingError: no index there.
        DataError: made by another algorithm or with other settings, or damaged.
    """
    note = read_note(folder)
    for name, value in _made_with(config).items():
        if note.made_with.get(name) != value:
            raise DataError(
                f"{folder / FILE_NAME}: made with {name} {note.made_with.get(name)}, not {value}",
                hint=f"give --{name} as it was, or make the index again",
            )
    return note


def read_note(folder: Path) -> IndexNote:
    """What an index says of itself, whatever it was made with.

    Raises:
        MissingError: no index there.
        DataError: made by another algorithm, or damaged.
    """
    path = folder / FILE_NAME
    if not path.exists():
        raise MissingError(
            f"{folder}: no index (no {FILE_NAME} in it)", hint=f"llmkit dedup … --save-index {folder}"
        )
    try:
        note = msgspec.json.decode(path.read_bytes(), type=IndexNote)
    except msgspec.MsgspecError as error:
        raise DataError(f"{path}: {error}", hint="make it again with --save-index") from None
    if (note.schema, note.algorithm) != (SCHEMA, ALGORITHM):
        raise DataError(
            f"{path}: of another algorithm ({note.algorithm}, not {ALGORITHM})",
            hint="make it again with --save-index",
        )
    facts = folder / f"{INDEX_STEM}.facts"
    if not facts.is_file() or facts.stat().st_size != note.documents * FACTS.itemsize:
        raise DataError(
            f"{folder}: {INDEX_STEM}.facts is cut short or damaged", hint="make it again with --save-index"
        )
    return note


def save_index(
    folder: Path, config: DedupConfig, corpus: Corpus, store: ShingleStore | None, dropped: NDArray[np.uint32]
) -> None:
    """Write the index of the documents that are kept, those of the index they were compared with too.

    Args:
        folder: replaced as a whole.
        config: what the corpus was signed with.
        corpus: all documents.
        store: their shingles, by near.
        dropped: the numbers of those that are not kept, in order.
    """
    sources: dict[str, int] = {}
    count = id_end = 0
    with atomic_folder(folder) as made:
        names = ["facts", "ids", *(["bands", "sets", "counts"] if config.by == "near" else [])]
        streams = {name: (made / f"{INDEX_STEM}.{name}").open("wb") for name in names}
        try:
            for documents in _blocks(corpus.num_documents, dropped):
                facts = np.concatenate(
                    [unit.facts[documents[part] - base] for unit, base, part in corpus.by_unit(documents)]
                )
                ids = [corpus.identity(int(one)).encode(errors="surrogatepass") for one in documents]
                facts["id_end"] = id_end + np.cumsum([len(one) for one in ids])
                id_end = int(facts["id_end"][-1])
                facts["source"] = [
                    sources.setdefault(one, len(sources)) for one in corpus.sources_of(documents)
                ]
                streams["facts"].write(facts.data)
                streams["ids"].write(b"".join(ids))
                if store is not None:
                    bands = [
                        unit.bands_of(documents[part] - base)
                        for unit, base, part in corpus.by_unit(documents)
                    ]
                    streams["bands"].write(np.ascontiguousarray(np.concatenate(bands, axis=1)).data)
                    sets, offsets = store.gather(documents.astype(np.uint32))
                    streams["sets"].write(sets.data)
                    streams["counts"].write(np.diff(offsets).astype("<u4").data)
                count += len(documents)
        finally:
            for stream in streams.values():
                stream.close()
        note = IndexNote(SCHEMA, ALGORITHM, _made_with(config), count, tuple(sources))
        (made / FILE_NAME).write_bytes(json_text(msgspec.to_builtins(note)))


def _blocks(num_documents: int, dropped: NDArray[np.uint32]) -> Iterator[NDArray[np.int64]]:
    """The numbers of the documents that stay, BLOCK at a time and fewer at the end."""
    kept = np.ones(num_documents, bool)
    kept[dropped] = False
    documents = np.flatnonzero(kept)
    for start in range(0, len(documents), BLOCK):
        yield documents[start : start + BLOCK]


def _made_with(config: DedupConfig) -> dict[str, Any]:
    """The settings that two corpora must have in common."""
    names = ("by", "ngram", "unit", "bands", "rows") if config.by == "near" else ("by", "key")
    return {name: getattr(config, name) for name in names}
