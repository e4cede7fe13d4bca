"""Searching an index of OpenSearch or Elasticsearch, or of what speaks as they do.

Source: OpenSearch's API reference, "Search API", "Get mapping", "Match", "k-NN query"; Elasticsearch's, "kNN
search". Vectors are asked for as the mapping says that they are kept: `knn_vector` or `dense_vector`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import MissingError
from llmkit.retrieve.engines.client import EngineClient, entry_of
from llmkit.retrieve.engines.hits import hit_of
from llmkit.retrieve.hits import Hit

_LEAST_CANDIDATES = 100
_VECTORS = {"knn_vector": "dimension", "dense_vector": "dims"}


class OpenSearchIndex:
    """One index.

    Attributes:
        width: numbers of its vectors; 0: there are none, or it is not known.
    """

    def __init__(self, client: EngineClient) -> None:
        """
        Args:
            client: of the engine.

        Raises:
            MissingError: the index or the field of its vectors is not there.
            RemoteError: see `EngineClient.ask`.
        """
        self._client, self._fields = client, client.address.fields
        answer = client.ask("GET", f"/{client.address.name}/_mapping")
        vectors = {
            name: found
            for one in answer.values()  # of an alias, each index behind it
            for name, found in _fields(entry_of(one, "mappings").get("properties", {}))
            if found.get("type") in _VECTORS
        }
        name = self._fields.vector
        if name and name not in vectors:
            raise MissingError(
                f"{client.address.shown}: no vectors in {name!r}",
                hint=f"vector={next(iter(vectors))}" if vectors else "it has none at all: --by words",
            )
        self._vector = name or (next(iter(vectors)) if len(vectors) == 1 else "")
        found = vectors.get(self._vector, {})
        self._kind = found.get("type", "")
        self.width = int(found.get(_VECTORS.get(self._kind, ""), 0))
        self._excluded = list(vectors)

    def words(self, query: str, most: int) -> list[Hit]:
        """The passages that have a query's words, the best first, as the engine scores them."""
        return self._search({"query": {"match": {self._fields.text: {"query": query}}}}, most)

    def meaning(self, vector: NDArray[np.float32], most: int) -> list[Hit]:
        """The passages whose vectors are nearest.

        Raises:
            MissingError: the index has none, or several fields of them.
        """
        if not self._vector:
            found = "several fields" if self._excluded else "no field"
            raise MissingError(
                f"{self._client.address.shown}: {found} of vectors",
                hint=f"say which: ...?vector={self._excluded[0]}" if self._excluded else "--by words",
            )
        numbers = vector.tolist()
        if self._kind == "knn_vector":
            return self._search({"query": {"knn": {self._vector: {"vector": numbers, "k": most}}}}, most)
        candidates = max(_LEAST_CANDIDATES, 2 * most)
        knn = {"field": self._vector, "query_vector": numbers, "k": most, "num_candidates": candidates}
        return self._search({"knn": knn}, most)

    def _search(self, query: dict[str, Any], most: int) -> list[Hit]:
        body = {**query, "size": most, "_source": {"excludes": self._excluded}}
        answer = self._client.ask("POST", f"/{self._client.address.name}/_search", body)
        return [self._hit(one) for one in entry_of(answer, "hits", "hits")][:most]

    def _hit(self, found: dict[str, Any]) -> Hit:
        score = float(found.get("_score") or 0)
        return hit_of(str(entry_of(found, "_id")), score, found.get("_source", {}), self._fields)


def _fields(properties: dict[str, Any], before: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Fields by their paths."""
    for name, found in properties.items():
        yield before + name, found
        yield from _fields(found.get("properties", {}), f"{before}{name}.")
