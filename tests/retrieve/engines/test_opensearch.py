"""OpenSearch and Elasticsearch: an engine made from their references, and one from PyPI."""

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from llmkit.errors import MissingError
from llmkit.retrieve.engines.address import read_address
from llmkit.retrieve.engines.client import EngineClient
from llmkit.retrieve.engines.opensearch import OpenSearchIndex
from tests.retrieve.engines_made import Engine

ENTRIES = {
    "a": {"text": "bee makes honey honey", "v": [1.0, 0.0]},
    "b": {"text": "ant and bee", "v": [0.8, 0.6]},
    "c": {"text": "cat", "v": [0.0, 1.0]},
}
KNN = {"text": {"type": "text"}, "v": {"type": "knn_vector", "dimension": 2}}
DENSE = {"text": {"type": "text"}, "v": {"type": "dense_vector", "dims": 2}}


def index(engine: Engine, address: str = "opensearch+http://h/docs") -> OpenSearchIndex:
    return OpenSearchIndex(EngineClient(read_address(address), transport=engine.transport))


def test_words_are_matched_in_the_field_of_texts_and_vectors_stay_there() -> None:
    engine = Engine(ENTRIES, KNN)
    found = index(engine).words("bee honey", 5)
    assert [(hit.id, hit.score, hit.text) for hit in found] == [
        ("a", 3.0, "bee makes honey honey"),
        ("b", 1.0, "ant and bee"),
    ]
    _, _, body = engine.asked[-1]
    assert body == {
        "query": {"match": {"text": {"query": "bee honey"}}},
        "size": 5,
        "_source": {"excludes": ["v"]},
    }


@pytest.mark.parametrize("mapping", [KNN, DENSE])
def test_vectors_are_asked_for_as_the_mapping_keeps_them(mapping: dict[str, Any]) -> None:
    opened = index(Engine(ENTRIES, mapping))
    assert opened.width == 2
    found = opened.meaning(np.array([2, 0], np.float32), 2)
    assert [(hit.id, round(hit.score, 6)) for hit in found] == [("a", 1.0), ("b", 0.8)]


def test_of_several_fields_of_vectors_one_must_be_named() -> None:
    mapping = {"text": {"type": "text"}, "v": KNN["v"], "page": {"properties": {"w": {**KNN["v"]}}}}
    asked = np.ones(2, np.float32)
    with pytest.raises(MissingError, match="several fields of vectors"):
        index(Engine(ENTRIES, mapping)).meaning(asked, 2)
    named = index(Engine(ENTRIES, mapping), "opensearch+http://h/docs?vector=v")
    assert len(named.meaning(asked, 2)) == 2
    with pytest.raises(MissingError, match="no vectors in 'x'"):
        index(Engine(ENTRIES, mapping), "opensearch+http://h/docs?vector=x")
    with pytest.raises(MissingError, match="no field of vectors"):
        index(Engine(ENTRIES)).meaning(asked, 2)


def test_an_index_that_is_not_there_is_told() -> None:
    with pytest.raises(MissingError, match=r"no such collection \(404: no such index \[x\]\)"):
        index(Engine(ENTRIES), "opensearch+http://h/other")


@pytest.fixture
def osmem() -> Iterator[str]:
    """A server from PyPI that others than us wrote."""
    module = pytest.importorskip("osmem_server", reason="pip install osmem-server")
    with module.OsmemServer.start() as server:
        yield server.url
        server.process.stdout.close()


def test_a_server_of_others_finds_what_our_own_index_finds_best(osmem: str) -> None:
    httpx.put(f"{osmem}/docs", json={"mappings": {"properties": KNN}}).raise_for_status()
    for name, entry in ENTRIES.items():
        httpx.put(f"{osmem}/docs/_doc/{name}?refresh=true", json=entry).raise_for_status()
    address = read_address(f"opensearch+{osmem}/docs")
    client = EngineClient(address)
    opened = OpenSearchIndex(client)
    assert opened.width == 2
    found = opened.words("Honey bee", 5)
    assert [(hit.id, hit.text) for hit in found] == [(one, ENTRIES[one]["text"]) for one in "ab"]
    assert found[0].score > found[1].score > 0
    assert len(opened.words("honey bee cat", 2)) == 2
    client.close()
    client = EngineClient(read_address(f"opensearch+{osmem}/nowhere"))
    with pytest.raises(MissingError, match="no such index"):
        OpenSearchIndex(client)
    client.close()
