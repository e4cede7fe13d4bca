"""A server needs no network: whatever it is asked, it opens no connection to anywhere."""

import socket
from typing import Any

import pytest

from llmkit.server.wire.operations import OPERATIONS
from llmkit.server.wire.rerank import RERANK
from tests.server_checks.conftest import Shared

SAID = [{"role": "user", "content": "see https://example.invalid/a.png"}]
ASKED: dict[str, Any] = {
    "/v1/completions": {"prompt": "a", "max_tokens": 2},
    "/v1/chat/completions": {"messages": SAID, "max_tokens": 2},
    "/v1/responses": {"input": "a", "max_output_tokens": 2},
    "/v1/responses/input_tokens": {"input": "a"},
    "/v1/embeddings": {"input": "a"},
    **{key: {"query": "a", "documents": ["https://example.invalid/b"]} for key in RERANK},
    "/completion": {"prompt": "a", "n_predict": 1},
    "/infill": {"input_prefix": "a", "input_suffix": "b", "n_predict": 1},
    "/lora-adapters": [],
    "/v1/messages": {"messages": SAID, "max_tokens": 2},
    "/v1/messages/count_tokens": {"messages": SAID},
    "/tokenize": {"prompt": "a"},
    "/detokenize": {"tokens": [5]},
    "/apply-template": {"messages": SAID},
}


def test_every_endpoint_answers_and_opens_no_connection(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Any] = []

    def no_network(*told: Any, **more: Any) -> Any:
        tried.append(told)
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket.socket, "connect_ex", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    for one in OPERATIONS:
        path = one.path.replace("{name:path}", "tiny").replace("{response_id:response}", shared.kept_id())
        if one.body:
            answer = shared.post(path, ASKED[path])
        else:
            answer = shared(shared.client.request(one.method, path))
        assert answer.status_code == 200, answer.text
    with pytest.raises(OSError, match="no network"):  # that the way out is closed
        socket.create_connection(("127.0.0.1", 9))
    assert len(tried) == 1  # that one
