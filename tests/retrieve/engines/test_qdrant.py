"""Qdrant: an engine made from its reference."""

from typing import Any

import numpy as np
import pytest

from llmkit.errors import MissingError, UsageError
from llmkit.retrieve.engines.address import read_address
from llmkit.retrieve.engines.client import EngineClient
from llmkit.retrieve.engines.qdrant import QdrantCollection
from tests.retrieve.engines_made import Engine

ENTRIES = {
    "a": {"text": "bee", "vector": [1.0, 0.0], "dense": [0.0, 1.0]},
    "b": {"text": "ant", "vector": [0.6, 0.8], "dense": [1.0, 0.0]},
}
ONE = {"size": 2, "distance": "Cosine"}


def collection(vectors: dict[str, Any], behind: str = "docs") -> tuple[QdrantCollection, Engine]:
    engine = Engine(ENTRIES, vectors=vectors)
    client = EngineClient(read_address(f"qdrant+http://h/{behind}"), transport=engine.transport)
    return QdrantCollection(client), engine


def test_points_come_with_their_payload_the_nearest_first() -> None:
    opened, engine = collection(ONE)
    assert opened.width == 2
    found = opened.meaning(np.array([3, 0], np.float32), 2)
    assert [(hit.text, round(hit.score, 6), hit.id) for hit in found] == [
        ("bee", 1.0, "0"),
        ("ant", 0.6, "1"),
    ]
    assert "using" not in engine.asked[-1][2]


def test_a_vector_with_a_name_is_used_by_it() -> None:
    asked = np.array([1, 0], np.float32)
    for vectors, behind in (({"dense": ONE}, "docs"), ({"dense": ONE, "vector": ONE}, "docs?vector=dense")):
        opened, engine = collection(vectors, behind)
        assert [hit.text for hit in opened.meaning(asked, 1)] == ["ant"]
        assert engine.asked[-1][2]["using"] == "dense"


@pytest.mark.parametrize(
    ("vectors", "behind"),
    [
        ({"dense": ONE, "vector": ONE}, "docs"),
        ({"dense": ONE}, "docs?vector=x"),
        (ONE, "docs?vector=x"),
        ({}, "docs"),
    ],
)
def test_which_vector_it_is_must_be_clear(vectors: dict[str, Any], behind: str) -> None:
    with pytest.raises(MissingError, match="which vector"):
        collection(vectors, behind)


def test_a_collection_that_is_not_there_is_told_and_words_are_not_ranked() -> None:
    with pytest.raises(MissingError, match="doesn't exist"):
        collection(ONE, "other")
    with pytest.raises(UsageError, match="does not rank by words"):
        collection(ONE)[0].words("bee", 3)
