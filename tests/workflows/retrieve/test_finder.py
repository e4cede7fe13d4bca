"""One search, whatever holds the passages."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from llmkit.errors import DataError, MissingError, RemoteError, UsageError
from llmkit.retrieve import embed_remote
from llmkit.retrieve.config import Bm25Config, IndexConfig
from llmkit.retrieve.fusion import fuse
from llmkit.retrieve.hits import Hit
from llmkit.workflows.retrieve.embed import open_embedder
from llmkit.workflows.retrieve.embedding import EmbedOptions
from llmkit.workflows.retrieve.finder import check_finder, open_finder
from llmkit.workflows.retrieve.index import index_documents
from llmkit.workflows.retrieve.index_file import open_index
from llmkit.workflows.retrieve.search import SearchOptions, open_search
from tests.retrieve.engines_made import Engine, served

TEXTS = {"a": "bee and bee", "b": "an ant and a bee", "c": "cat", "d": "honey honey"}


@pytest.fixture
def model(spelled_model: Callable[..., Path]) -> Path:
    return spelled_model()


@pytest.fixture
def engine(model: Path) -> Engine:
    """One that has TEXTS, with vectors of the model."""
    opened = open_embedder(EmbedOptions(model=model), None, Path("x"))
    vectors = opened.embedder.embed(list(TEXTS.values())).tolist()
    entries = {
        key: {"text": text, "v": vector, "document": key, "start": 0, "end": len(text)}
        for (key, text), vector in zip(TEXTS.items(), vectors, strict=True)
    }
    width = opened.embedder.width
    mapping = {"text": {"type": "text"}, "v": {"type": "knn_vector", "dimension": width}}
    return Engine(entries, mapping, {"v": {"size": width, "distance": "Cosine"}})


@pytest.fixture
def host(engine: Engine) -> Iterator[str]:
    with served(engine) as address:
        yield address


def find(index: str | Path, query: str = "bee", most: int = 9, **options: Any) -> list[Hit]:
    with open_finder(Path(index), SearchOptions(**options)) as finder:
        return finder.find(query, most)


def test_an_engines_passages_are_those_of_an_index_of_the_same_texts(host: str, tmp_path: Path) -> None:
    rows = (json.dumps({"id": key, "text": text}) for key, text in TEXTS.items())
    (tmp_path / "d.jsonl").write_text("\n".join(rows))
    index_documents([tmp_path / "d.jsonl"], tmp_path / "i", IndexConfig())
    there, here = find(f"opensearch+http://{host}/docs"), find(tmp_path / "i")
    told = [[(hit.id, hit.document, hit.start, hit.end, hit.text) for hit in hits] for hits in (there, here)]
    assert told[0] == told[1] and len(here) == 2


def test_vectors_of_queries_are_made_by_the_model_that_is_named(
    host: str, engine: Engine, model: Path
) -> None:
    embed = EmbedOptions(model=model)
    query = open_embedder(embed, None, Path("x")).embedder.embed(["bee"])[0]
    cosines = {key: float(np.dot(query, one["v"])) for key, one in engine.entries.items()}
    expected = sorted(cosines, key=lambda key: -cosines[key])
    for kind in ("opensearch", "qdrant"):
        found = find(f"{kind}+http://{host}/docs", by="meaning", embed=embed)
        assert [hit.document for hit in found] == expected
        assert [hit.score for hit in found] == pytest.approx([cosines[key] for key in expected], abs=1e-5)


def test_both_fuse_the_two_rankings(host: str, model: Path) -> None:
    address, embed = f"elasticsearch+http://{host}/docs", EmbedOptions(model=model)
    rankings = [
        [hit.id for hit in find(address)],
        [hit.id for hit in find(address, by="meaning", embed=embed)],
    ]
    for weight, more in ((0.5, {}), (0.25, {"meaning_weight": 0.25})):
        found = find(address, by="both", embed=embed, **more)
        assert [(hit.id, hit.score) for hit in found] == fuse(rankings, (1 - weight, weight), 9)


def test_what_an_engine_found_is_ranked_again(host: str, model: Path, tmp_path: Path) -> None:
    rows = (json.dumps({"id": key, "text": text}) for key, text in TEXTS.items())
    (tmp_path / "d.jsonl").write_text("\n".join(rows))
    index_documents([tmp_path / "d.jsonl"], tmp_path / "i", IndexConfig())
    with open_index(tmp_path / "i") as store:
        here = open_search(store, SearchOptions(rerank=model), tmp_path / "i")("bee", 9)
    there = find(f"opensearch+http://{host}/docs", rerank=model)
    assert [(hit.id, hit.score) for hit in there] == [(hit.id, hit.score) for hit in here]


def test_a_key_comes_from_a_file(host: str, engine: Engine, tmp_path: Path, model: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    engine.authorization = {"api-key": "s3cret"}
    options: dict[str, Any] = {"by": "meaning", "embed": EmbedOptions(model=model)}
    assert len(find(f"qdrant+http://{host}/docs", key=tmp_path / "key", **options)) == 4
    with pytest.raises(RemoteError, match="401: missing authentication"):
        find(f"qdrant+http://{host}/docs", **options)
    with pytest.raises(MissingError, match="no such file"):
        find(f"qdrant+http://{host}/docs", key=tmp_path / "nowhere", **options)
    (tmp_path / "key").write_text("\n")
    with pytest.raises(MissingError, match="nothing in it"):
        find(f"qdrant+http://{host}/docs", key=tmp_path / "key", **options)


def test_searches_of_an_engine_are_under_way_together(host: str) -> None:
    with open_finder(Path(f"opensearch+http://{host}/docs"), SearchOptions()) as finder:
        assert finder.at_once > 1
        found: list[int] = []
        threads = [
            threading.Thread(target=lambda: found.append(len(finder.find("bee", 9)))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [2] * 8


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"by": "meaning"}, MissingError, "what made its vectors is not known"),
        ({"bm25": Bm25Config(k1=2)}, UsageError, "the engine's own"),
    ],
)
def test_what_an_engine_cannot_know_or_do_is_refused(
    host: str, options: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        find(f"opensearch+http://{host}/docs", **options)


def test_a_model_of_another_width_is_refused(host: str, engine: Engine, model: Path) -> None:
    engine.mapping["v"]["dimension"] = 7
    with pytest.raises(DataError, match="vectors of 7 numbers"):
        find(f"opensearch+http://{host}/docs", by="meaning", embed=EmbedOptions(model=model))


@pytest.mark.parametrize("by", ["words", "meaning"])
def test_an_index_that_has_taken_the_place_of_another_is_the_one_that_is_searched(
    tmp_path: Path, model: Path, by: str
) -> None:
    def write(texts: dict[str, str]) -> None:
        rows = (json.dumps({"id": key, "text": text}) for key, text in texts.items())
        (tmp_path / "d.jsonl").write_text("\n".join(rows))
        embed = EmbedOptions(model=model)
        index_documents([tmp_path / "d.jsonl"], tmp_path / "i", IndexConfig(), embed=embed, force=True)

    write(TEXTS)
    with open_finder(tmp_path / "i", SearchOptions(by=by)) as finder:
        assert {hit.document for hit in finder.find("bee", 9)} >= {"a", "b"}
        write({"new": "one bee"})
        assert finder.find("bee", 9) == find(tmp_path / "i", by=by)
        (tmp_path / "i").unlink()
        assert [hit.document for hit in finder.find("bee", 9)] == ["new"]


@pytest.fixture
def embedding_server(monkeypatch: pytest.MonkeyPatch) -> "Lengths":
    server = Lengths()
    client = httpx.Client
    made = lambda **more: client(**(more | {"transport": httpx.MockTransport(server)}))  # noqa: E731
    monkeypatch.setattr(embed_remote.httpx, "Client", made)
    return server


class Lengths:
    """A server of vectors that can be stopped, and counts who waits for it."""

    def __init__(self) -> None:
        self.goes, self.begun, self.together = threading.Event(), threading.Event(), threading.Barrier(4)
        self.goes.set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if not self.goes.is_set():
            self.begun.set()
            self.together.wait(60)
        texts = json.loads(request.content)["input"]
        data = [{"index": place, "embedding": [len(text), 1.0]} for place, text in enumerate(texts)]
        return httpx.Response(200, json={"data": data, "model": "lengths"})


@pytest.fixture
def index(tmp_path: Path, embedding_server: Lengths) -> Path:
    """With vectors of the server."""
    rows = (json.dumps({"id": key, "text": text}) for key, text in TEXTS.items())
    (tmp_path / "d.jsonl").write_text("\n".join(rows))
    embed = EmbedOptions(url="http://server")
    index_documents([tmp_path / "d.jsonl"], tmp_path / "i", IndexConfig(), embed=embed)
    return tmp_path / "i"


def test_searches_of_a_file_wait_for_a_server_of_vectors_together(
    index: Path, embedding_server: Lengths
) -> None:
    with open_finder(index, SearchOptions(by="meaning")) as finder:
        assert finder.at_once > 1
        expected, found = finder.find("bee", 9), list[list[Hit]]()
        embedding_server.goes.clear()  # from now on nobody is answered before four ask
        threads = [threading.Thread(target=lambda: found.append(finder.find("bee", 9))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [expected] * 4


def test_an_index_that_another_has_taken_the_place_of_is_closed_with_its_last_search(
    index: Path, embedding_server: Lengths, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[object] = []
    close = embed_remote.RemoteEmbedder.close

    def noted(embedder: embed_remote.RemoteEmbedder) -> None:
        closed.append(embedder)
        close(embedder)

    monkeypatch.setattr(embed_remote.RemoteEmbedder, "close", noted)
    with open_finder(index, SearchOptions(by="meaning")) as finder:
        expected = finder.find("bee", 9)
        index.with_name("j").write_bytes(index.read_bytes())
        embedding_server.goes.clear()
        embedding_server.together, found = threading.Barrier(2), list[list[Hit]]()
        waiting = threading.Thread(target=lambda: found.append(finder.find("bee", 9)))
        waiting.start()
        assert embedding_server.begun.wait(60)
        embedding_server.goes.set()
        index.with_name("j").replace(index)
        assert finder.find("bee", 9) == expected and closed == []
        embedding_server.together.wait(60)
        waiting.join()
        assert found == [expected] and len(closed) == 1
    assert len(closed) == 2


def test_a_time_for_a_server_is_refused_where_none_is_asked_and_taken_where_one_is(
    index: Path, tmp_path: Path, model: Path
) -> None:
    assert find(index, by="meaning", seconds=3.0)
    embed = EmbedOptions(model=model)
    index_documents([tmp_path / "d.jsonl"], tmp_path / "own", IndexConfig(), embed=embed)
    with pytest.raises(UsageError, match="--index-timeout is of a search engine"):
        find(tmp_path / "own", by="meaning", seconds=3.0)


def test_a_check_finds_what_cannot_be_opened_and_asks_no_server(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_remote.RemoteEmbedder, "__init__", None)  # nobody may
    check_finder(index, SearchOptions(by="meaning"))
    check_finder(Path("opensearch+http://nowhere/docs"), SearchOptions())
    check_finder(
        Path("qdrant+http://nowhere/docs"), SearchOptions(by="both", embed=EmbedOptions(url="http://h"))
    )
    index_documents([tmp_path / "d.jsonl"], tmp_path / "words", IndexConfig())
    wrong: list[tuple[str | Path, dict[str, Any], type[Exception], str]] = [
        (tmp_path / "nowhere", {}, MissingError, "no such index"),
        (tmp_path / "d.jsonl", {}, DataError, "no index|not a database"),
        (tmp_path / "words", {"by": "meaning"}, MissingError, "has no vectors"),
        (index, {"key": tmp_path / "k"}, UsageError, "--index-key is of a search engine"),
        (index, {"by": "both", "embed": EmbedOptions(url="h:1")}, UsageError, "no URL"),
        (index, {"by": "both", "embed": EmbedOptions(key=tmp_path / "k")}, MissingError, "no such file"),
        ("qdrant+http://h/docs", {"key": tmp_path / "k"}, MissingError, "no such file"),
        ("qdrant+http://h/docs", {"by": "meaning"}, MissingError, "what made its vectors"),
    ]
    for path, options, kind, said in wrong:
        with pytest.raises(kind, match=said):
            check_finder(Path(path), SearchOptions(**options))


def test_what_is_of_an_engine_is_refused_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--index-key is of a search engine"):
        find(tmp_path / "i", key=tmp_path / "key")
    with pytest.raises(UsageError, match="--index-timeout is of a search engine"):
        find(tmp_path / "i", seconds=3.0)
