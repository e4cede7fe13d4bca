"""The clusters that were found, as JSON lines."""

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from llmkit.formats.jsonl import encode_line
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


def _member(corpus: Corpus, row: Any) -> dict[str, Any]:
    similarity = float(row["similarity"])
    known = {} if np.isnan(similarity) else {"similarity": round(similarity, 4)}
    return {"id": corpus.identity(int(row["document"])), **known}
