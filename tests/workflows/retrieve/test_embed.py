"""The model that an index has its vectors from."""

import json
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from llmkit.errors import DataError, MissingError, RemoteError, UsageError
from llmkit.model.pooling import Pooling, write_pooling
from llmkit.retrieve.config import IndexConfig
from llmkit.workflows.retrieve.embedding import EmbedOptions
from llmkit.workflows.retrieve.index import index_documents
from llmkit.workflows.retrieve.index_file import open_index
from llmkit.workflows.retrieve.search import SearchOptions, open_search

TEXTS = {"a": "# Ants\nAn ant carries leaves.", "b": "A bee makes honey.", "c": "A cat sleeps all day."}
Build = Callable[..., Path]


def documents(path: Path, texts: dict[str, str]) -> Path:
    path.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items()))
    return path


@pytest.fixture
def model(spelled_model: Build) -> Path:
    return spelled_model()


@pytest.fixture
def index(tmp_path: Path, model: Path) -> Path:
    report = index_documents(
        [documents(tmp_path / "d.jsonl", TEXTS)],
        tmp_path / "i",
        IndexConfig(),
        embed=EmbedOptions(model=model),
    )
    assert report.embedded == report.passages == 3
    return tmp_path / "i"


def ranked(index: Path, query: str = "honey bees", embed: Path | None = None) -> list[tuple[str, float]]:
    with open_index(index) as store:
        found = open_search(store, SearchOptions(by="meaning", embed=EmbedOptions(model=embed)), index)(
            query, 9
        )
        return [(hit.document, round(hit.score, 4)) for hit in found]


def test_an_index_that_changed_ranks_as_one_made_at_once(index: Path, model: Path, tmp_path: Path) -> None:
    changed = {"b": "A bee makes wax.", "d": "A dog barks."}
    more = documents(tmp_path / "more.jsonl", changed)
    report = index_documents([more], index, IndexConfig(), add=True, delete=("c",))
    assert (report.embedded, report.passages) == (2, 3)
    whole = documents(tmp_path / "whole.jsonl", {"a": TEXTS["a"], **changed})
    index_documents([whole], tmp_path / "at-once", IndexConfig(), embed=EmbedOptions(model=model))
    assert ranked(index) == ranked(tmp_path / "at-once")
    assert len(ranked(index)) == 3


def test_vectors_are_given_to_an_index_that_had_none(index: Path, model: Path, tmp_path: Path) -> None:
    later = tmp_path / "later"
    index_documents([tmp_path / "d.jsonl"], later, IndexConfig())
    with pytest.raises(MissingError, match="has no vectors"):
        ranked(later)
    assert index_documents([], later, IndexConfig(), add=True, embed=EmbedOptions(model=model)).embedded == 3
    assert index_documents([], later, IndexConfig(), add=True, embed=EmbedOptions(model=model)).embedded == 0
    assert ranked(later) == ranked(index)


def test_another_model_is_refused_and_changes_nothing(
    index: Path, spelled_model: Build, tmp_path: Path
) -> None:
    other = spelled_model("other", num_hidden_layers=1)
    before = index.read_bytes()
    more = documents(tmp_path / "more.jsonl", {"d": "A dog barks."})
    with pytest.raises(DataError, match=r"other: not the model that .* has its vectors from"):
        index_documents([more], index, IndexConfig(), add=True, embed=EmbedOptions(model=other))
    with pytest.raises(DataError, match="not the model"):
        ranked(index, embed=other)
    assert index.read_bytes() == before


def test_another_pooling_of_the_same_weights_is_another_model_and_new_words_before_queries_are_not(
    index: Path, model: Path, tmp_path: Path
) -> None:
    plain = ranked(index)
    write_pooling(model, Pooling("last"), 8)
    with pytest.raises(DataError, match="not the model"):
        ranked(index)
    documents(tmp_path / "d.jsonl", TEXTS)
    index_documents([tmp_path / "d.jsonl"], tmp_path / "l", IndexConfig(), embed=EmbedOptions(model=model))
    found = ranked(tmp_path / "l")
    (model / "config_sentence_transformers.json").write_text('{"prompts": {"query": "Query: "}}')
    asked = ranked(tmp_path / "l")
    assert len({tuple(one) for one in (plain, found, asked)}) == 3


def test_a_model_that_moved_is_named_and_known_again(index: Path, model: Path, tmp_path: Path) -> None:
    known = ranked(index)
    shutil.move(model, tmp_path / "moved")
    with pytest.raises(MissingError, match="not there any more") as caught:
        ranked(index)
    assert caught.value.hint == "say where it is now: --embed MODEL"
    assert ranked(index, embed=tmp_path / "moved") == known


def test_taking_documents_out_needs_no_model(index: Path, model: Path) -> None:
    shutil.rmtree(model)
    assert index_documents([], index, IndexConfig(), delete=("a",)).passages == 2
    assert sqlite3.connect(index).execute("SELECT count(*) FROM vectors").fetchone() == (2,)


class Letters(BaseHTTPRequestHandler):
    """A server whose vector of a text counts some letters of it."""

    letters = "abehkmnor "
    key = "secret"
    asked: list[int]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append(len(body["input"]))
        status, answer = 200, {"model": "letters", "data": [], "object": "list"}
        if self.headers["authorization"] != f"Bearer {self.key}":
            status, answer = 401, {"error": {"message": "who are you?"}}
        else:
            answer["data"] = [
                {"index": place, "embedding": [text.count(one) for one in self.letters]}
                for place, text in enumerate(body["input"])
            ]
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def letters() -> Iterator[tuple[type[Letters], str]]:
    """The server's handler, and where it is."""
    handler = type("Handler", (Letters,), {"asked": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield handler, f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text("secret\n")
    return tmp_path / "key"


def test_an_index_has_its_vectors_from_a_server_and_asks_it_again(
    letters: tuple[type[Letters], str], key: Path, tmp_path: Path
) -> None:
    handler, url = letters
    options, made = EmbedOptions(url=url, key=key), [documents(tmp_path / "d.jsonl", TEXTS)]
    assert index_documents(made, tmp_path / "i", IndexConfig(), embed=options).embedded == 3
    assert handler.asked == [1, 3]  # whether it is there, and what it has; then all passages at once
    with open_index(tmp_path / "i") as store:
        search = open_search(store, SearchOptions(by="meaning", embed=EmbedOptions(key=key)), tmp_path / "i")
        best = [search(text, 1)[0].document for text in TEXTS.values()]
    assert best == list(TEXTS)


def test_a_server_that_has_another_model_now_is_found_out(
    letters: tuple[type[Letters], str], key: Path, model: Path, tmp_path: Path
) -> None:
    handler, url = letters
    options, made = EmbedOptions(url=url, key=key), [documents(tmp_path / "d.jsonl", TEXTS)]
    index_documents(made, tmp_path / "i", IndexConfig(), embed=options)
    handler.letters = "qwxyzvuts "
    more = [documents(tmp_path / "more.jsonl", {"d": "A dog barks."})]
    with pytest.raises(DataError, match=r"not the model that .* has its vectors from"):
        index_documents(more, tmp_path / "i", IndexConfig(), embed=options, add=True)
    handler.letters = "abc"
    with (
        pytest.raises(DataError, match=r"vectors of 3 numbers, and those of .* have 10"),
        open_index(tmp_path / "i") as store,
    ):
        open_search(store, SearchOptions(by="both", embed=EmbedOptions(key=key)), tmp_path / "i")
    index_documents(made, tmp_path / "here", IndexConfig(), embed=EmbedOptions(model=model))
    with pytest.raises(DataError, match=r"not the model that .* has its vectors from"):
        index_documents(more, tmp_path / "here", IndexConfig(), embed=options, add=True)


def test_a_server_that_refuses_leaves_nothing_behind(
    letters: tuple[type[Letters], str], tmp_path: Path
) -> None:
    _, url = letters
    with pytest.raises(RemoteError, match="401: who are you"):
        made = [documents(tmp_path / "d.jsonl", TEXTS)]
        index_documents(made, tmp_path / "i", IndexConfig(), embed=EmbedOptions(url=url))
    assert not (tmp_path / "i").exists()
    with pytest.raises(UsageError, match="exclude each other"):
        EmbedOptions(url=url, model=tmp_path)
