"""Search engines as small as they can be, written from API references, that refuse what those do not know.

OpenSearch's "Get mapping", "Search API", "Match", "k-NN query"; Elasticsearch's "kNN search"; Qdrant's "Get
collection details", "Query points". Passages are ranked by how often they have the words, or by cosines.
"""

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

Reply = tuple[int, Any]
MISSING = {"error": {"root_cause": [{"reason": "no such index [x]"}], "reason": "several"}, "status": 404}


@dataclass
class Engine:
    """What is in it, and what it was asked."""

    entries: dict[str, dict[str, Any]]
    mapping: dict[str, Any] = field(default_factory=lambda: {"text": {"type": "text"}})
    """Of OpenSearch."""
    vectors: dict[str, Any] = field(default_factory=dict)
    """Of Qdrant, as its collection has them."""
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    authorization: dict[str, str] = field(default_factory=dict)
    """A header that is asked for."""

    def reply(self, method: str, path: str, headers: dict[str, str], content: bytes) -> Reply:
        """What it answers."""
        body = json.loads(content) if content else None
        self.asked.append((f"{method} {path}", headers, body))
        if any(headers.get(name) != value for name, value in self.authorization.items()):
            return 401, {"error": {"reason": "missing authentication credentials"}}
        match method, path:
            case "GET", "/docs/_mapping":
                return 200, {"docs-000001": {"mappings": {"properties": self.mapping}}}
            case "POST", "/docs/_search":
                return self._search(body)
            case "GET", "/collections/docs":
                config = {"params": {"vectors": self.vectors}}
                return 200, {"result": {"status": "green", "config": config}, "status": "ok", "time": 0.1}
            case "POST", "/collections/docs/points/query":
                return self._points(body)
        if path.startswith("/collections"):
            return 404, {"status": {"error": "Not found: Collection `x` doesn't exist!"}, "time": 0.1}
        return 404, MISSING

    @property
    def transport(self) -> httpx.MockTransport:
        """Lets a client ask it without a socket."""

        def answer(request: httpx.Request) -> httpx.Response:
            status, body = self.reply(request.method, request.url.path, dict(request.headers), request.read())
            return httpx.Response(status, json=body)

        return httpx.MockTransport(answer)

    def _search(self, body: dict[str, Any]) -> Reply:
        assert set(body) <= {"query", "knn", "size", "_source"} and set(body["_source"]) == {"excludes"}
        match body:
            case {"query": {"match": match}}:
                ((name, said),) = match.items()
                scores = {
                    key: float(sum(one[name].split().count(word) for word in said["query"].split()))
                    for key, one in self.entries.items()
                }
                scores = {key: score for key, score in scores.items() if score}
            case {"query": {"knn": knn}}:
                ((name, near),) = knn.items()
                assert self.mapping[name]["type"] == "knn_vector" and set(near) == {"vector", "k"}
                scores = self._cosines(name, near["vector"])
            case {"knn": {"field": name, "query_vector": vector, "k": k, "num_candidates": candidates}}:
                assert self.mapping[name]["type"] == "dense_vector" and k <= candidates
                scores = self._cosines(name, vector)
        left_out = body["_source"]["excludes"]
        hits = [
            {
                "_index": "docs-000001",
                "_id": key,
                "_score": score,
                "_source": {name: value for name, value in self.entries[key].items() if name not in left_out},
            }
            for key, score in sorted(scores.items(), key=lambda one: -one[1])[: body["size"]]
        ]
        return 200, {"took": 1, "timed_out": False, "hits": {"total": {"value": len(scores)}, "hits": hits}}

    def _points(self, body: dict[str, Any]) -> Reply:
        assert set(body) - {"using"} == {"query", "limit", "with_payload"}
        scores = self._cosines(body.get("using", "vector"), body["query"])
        points = [
            {"id": number, "version": 3, "score": scores[key], "payload": self.entries[key]}
            for number, key in enumerate(sorted(scores, key=lambda one: -scores[one])[: body["limit"]])
        ]
        return 200, {"result": {"points": points}, "status": "ok", "time": 0.1}

    def _cosines(self, name: str, vector: list[float]) -> dict[str, float]:
        length = math.hypot(*vector)
        return {
            key: sum(a * b for a, b in zip(one[name], vector, strict=True)) / length / math.hypot(*one[name])
            for key, one in self.entries.items()
        }


@contextmanager
def served(engine: Engine) -> Iterator[str]:
    """The engine at an address of its own: `127.0.0.1:PORT`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, body = engine.reply(self.command, self.path, headers, content)
            told = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
