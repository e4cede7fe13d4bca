"""What changes an engine's adapters is run in its thread."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from llmkit.engine.engine import Engine
from llmkit.errors import UsageError
from llmkit.model.transformer import Transformer
from llmkit.server.engine_adapters import EngineAdapters
from tests.server.adapters_made import BYTES, weights


def test_adapters_come_are_mixed_and_go(model: Transformer) -> None:
    bank, calls = Engine(model).adapters, []

    async def call(function: Callable[[], Any]) -> Any:
        calls.append(threading.current_thread().name)
        return function()

    async def go() -> None:
        adapters = EngineAdapters(bank, call)
        assert await adapters.load("poet", weights(1), strength=1.0, called="a") == BYTES
        await adapters.load("cook", weights(2), strength=1.0, called="b")
        await adapters.mix("+1", [("a", 0.5), ("b", 2.0)])
        assert bank.names == ("a", "b", "+1") and bank.get("+1").nbytes == 2 * BYTES
        await adapters.unload("a")
        assert bank.names == ("b", "+1")
        with pytest.raises(UsageError, match="no adapter 'a'"):
            await adapters.mix("+2", [("a", 1.0)])

    asyncio.run(go())
    assert len(calls) == 6 and set(calls) == {threading.current_thread().name}
