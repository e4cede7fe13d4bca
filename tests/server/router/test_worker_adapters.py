"""What one worker answers of its adapters, and what is made of one that answers something else."""

import asyncio

import httpx
import pytest

from llmkit.server.adapters import AdapterSpec
from llmkit.server.errors import ApiError
from llmkit.server.router.worker import Worker
from llmkit.server.router.worker_adapters import adapters_of, load_into, unload_from


def worker(status: int, content: bytes) -> Worker:
    transport = httpx.MockTransport(lambda request: httpx.Response(status, content=content))
    return Worker("w", httpx.AsyncClient(transport=transport, base_url="http://w"))


def test_its_own_words_are_passed_on() -> None:
    says = b'{"error": {"message": "no such folder", "code": "not_available", "param": "lora_path"}}'
    with pytest.raises(ApiError, match="no such folder") as caught:
        asyncio.run(load_into(worker(400, says), AdapterSpec("a", "p")))
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "not_available", "lora_path")


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]"])
def test_what_is_no_answer_of_ours_is_none(content: bytes) -> None:
    with pytest.raises(ApiError, match="worker w does not answer"):
        asyncio.run(unload_from(worker(200, content), "a"))


def test_adapters_are_those_that_it_tells() -> None:
    told = b'{"data": [{"lora_name": "a", "lora_path": "p", "strength": 0.5, "bytes": 3}]}'
    assert asyncio.run(adapters_of(worker(200, told))) == {"a": AdapterSpec("a", "p", 0.5)}
