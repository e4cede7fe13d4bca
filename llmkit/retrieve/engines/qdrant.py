"""Searching a collection of Qdrant by vectors.

Source: Qdrant's API reference, "Query points", "Get collection details".
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import MissingError, UsageError
from llmkit.retrieve.engines.client import EngineClient, entry_of
from llmkit.retrieve.engines.hits import hit_of
from llmkit.retrieve.hits import Hit


class QdrantCollection:
    """One collection.

    Attributes:
        width: numbers of its vectors.
    """

    def __init__(self, client: EngineClient) -> None:
        """
        Args:
            client: of the engine.

        Raises:
            MissingError: the collection or its vector of that name is not there.
            RemoteError: see `EngineClient.ask`.
        """
        self._client, self._fields = client, client.address.fields
        self._path = f"/collections/{client.address.name}"
        found = entry_of(client.ask("GET", self._path), "result", "config", "params").get("vectors") or {}
        named = {} if "size" in found else found
        self._using = self._fields.vector or (next(iter(named)) if len(named) == 1 else "")
        if self._using not in named and (named or self._using or not found):
            names = ", ".join(named) or ("one without a name" if found else "none")
            raise MissingError(
                f"{client.address.shown}: which vector? (found: {names})",
                hint=f"...?vector={next(iter(named), 'NAME')}" if named else "leave ?vector= out",
            )
        self.width = int(entry_of(named[self._using] if named else found, "size"))

    def words(self, query: str, most: int) -> list[Hit]:
        """Qdrant ranks by vectors alone.

        Raises:
            UsageError: always.
        """
        shown = self._client.address.shown
        raise UsageError(f"{shown}: Qdrant does not rank by words", hint="--by meaning --embed-url URL")

    def meaning(self, vector: NDArray[np.float32], most: int) -> list[Hit]:
        """The passages whose vectors are nearest."""
        body: dict[str, Any] = {"query": vector.tolist(), "limit": most, "with_payload": True}
        if self._using:
            body["using"] = self._using
        answer = self._client.ask("POST", f"{self._path}/points/query", body)
        return [
            hit_of(str(entry_of(one, "id")), float(one["score"]), one.get("payload") or {}, self._fields)
            for one in entry_of(answer, "result", "points")
        ]
