"""The clusters that were found, as JSON lines, and the folder where they are looked for."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from llmkit.formats.jsonl import encode_line
from llmkit.formats.streams import STDIO
from llmkit.workflows.dedup.corpus import Corpus


def write_clusters(stream: BinaryIO, corpus: Corpus, dropped: NDArray[np.void]) -> None:
    """One line a cluster, in the order of the keepers.

    {"keeper": id, "size": n, "members": [{"id", "similarity"}, ...]}

    Args:
        stream: where they go.
        corpus: names the documents.
        dropped: rows of DROPPED.
    """
    rows = np.asarray(dropped)
    rows = rows[np.lexsort((rows["document"], rows["keeper"]))]
    edges = np.flatnonzero(np.diff(rows["keeper"], prepend=-1, append=-1)) if len(rows) else np.empty(0, int)
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        members = [_member(corpus, row) for row in rows[start:stop]]
        keeper = corpus.identity(int(rows["keeper"][start]))
        stream.write(encode_line({"keeper": keeper, "size": len(members) + 1, "members": members}))


@contextmanager
def work_folder(out: Path | None, stage: str = "dedup") -> Iterator[Path]:
    """A folder for what is needed only while it works: beside the output, else where temporary files go.

    What a process that is dead has left beside the output is removed.
    """
    if out is None or out == STDIO:
        with tempfile.TemporaryDirectory(prefix=f"llmkit-{stage}-") as name:
            yield Path(name)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{out.name}.{stage}-"
    for leftover in out.parent.iterdir():
        process = leftover.name.removeprefix(prefix)
        if leftover.name.startswith(prefix) and process.isdigit() and not _is_alive(int(process)):
            shutil.rmtree(leftover, ignore_errors=True)
    folder = out.parent / f"{prefix}{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _member(corpus: Corpus, row: Any) -> dict[str, Any]:
    similarity = float(row["similarity"])
    known = {} if np.isnan(similarity) else {"similarity": round(similarity, 4)}
    return {"id": corpus.identity(int(row["document"])), **known}


def _is_alive(process: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
    return True
