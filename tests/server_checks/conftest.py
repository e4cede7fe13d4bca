"""The tiny served model of `tests/server`, and one application of it that the tests of a module share."""

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.server.conftest import Serving, model, serving, tokenizer, tokenizer_folder

__all__ = ["model", "serving", "tokenizer", "tokenizer_folder"]

IDS = [10, 20, 30]
"""A prompt that needs no tokenizer."""


@dataclass
class Shared:
    """An application, and the loop that it lives in."""

    runner: asyncio.Runner
    client: httpx.AsyncClient

    def __call__(self, work: Awaitable[Any]) -> Any:
        """Wait for some work of the loop."""

        async def go() -> Any:
            return await work

        return self.runner.run(go())

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """An answer; a body that is not bytes goes as JSON."""
        given = {"content": body} if isinstance(body, bytes) else {"json": body}
        answer: httpx.Response = self(self.client.post(path, **given, **options))
        return answer

    def kept_id(self) -> str:
        """Of a response that is kept."""
        asked = {"input": "a", "max_output_tokens": 1}
        return str(self.post("/v1/responses", asked).json()["id"])


@pytest.fixture(scope="module")
def shared(serving: Serving) -> Iterator[Shared]:
    """An open server with room for 2,048 positions."""
    with asyncio.Runner() as runner:
        opened = serving()
        client = runner.run(opened.__aenter__())
        yield Shared(runner, client)
        runner.run(opened.__aexit__(None, None, None))
