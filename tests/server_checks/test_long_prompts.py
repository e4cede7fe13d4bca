"""A few long requests do not starve the short ones: a short one's wait, counted in passes of the model."""

import asyncio
from typing import Any

import pytest

from llmkit.engine.engine import EngineConfig
from llmkit.engine.request import Event, Request
from llmkit.server.admission import Admission
from llmkit.server.config import AdmissionConfig
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.usage import UsageStore
from tests.server.conftest import Serving

LONG_TOKENS, SHORT_TOKENS = 200, 6
PLACES = 4
"""Texts at work at once."""
SIZES = EngineConfig(positions=4096, max_texts=PLACES, pass_tokens=32)


class Passes:
    """Counts them, and notes in which a short prompt came in and had its first token."""

    def __init__(self, engine: Any) -> None:
        self.count = 0
        self.came: dict[int, int] = {}
        self.first: dict[int, int] = {}
        self.long_before = 0
        self._submit, self._step = engine.submit, engine.step
        engine.submit, engine.step = self.submit, self.step

    def submit(self, request: Request) -> int:
        number: int = self._submit(request)
        if len(request.prompt) == SHORT_TOKENS:
            self.came[number] = self.count
        else:
            self.long_before += not self.came
        return number

    def step(self) -> list[Event]:
        self.count += 1
        events: list[Event] = self._step()
        for event in events:
            self.first.setdefault(event.number, self.count)
        return events

    @property
    def waits(self) -> list[int]:
        """Of each short one, in passes."""
        return [self.first[number] - came for number, came in self.came.items()]


async def short_beside_long(serving: Serving, long_requests: int, long_places: int) -> Passes:
    """Long ones are sent, and when the engine is at them, three short ones."""
    config = AdmissionConfig(long_tokens=100, long_places=long_places)
    gate = KeyedGate(None, Admission(config, lambda: 0.0), UsageStore(None))
    async with serving(gate=gate, engine=SIZES) as client:
        passes = Passes(client.thread._engine)  # type: ignore[attr-defined]

        async def ask(first: int, tokens: int) -> int:
            prompt = [3 + (first + one) % 250 for one in range(tokens)]
            body = {"prompt": prompt, "max_tokens": 40, "ignore_eos": True}
            return int((await client.post("/v1/completions", json=body)).status_code)

        asked = [asyncio.create_task(ask(7 * one, LONG_TOKENS)) for one in range(long_requests)]
        while passes.count < 3:
            await asyncio.sleep(0.001)
        asked += [asyncio.create_task(ask(100 + one, SHORT_TOKENS)) for one in range(3)]
        assert set(await asyncio.gather(*asked)) == {200}
        return passes


@pytest.mark.parametrize("long_requests", [2, 8])
def test_a_short_requests_wait_is_a_few_passes_however_many_long_ones_there_are(
    long_requests: int, serving: Serving
) -> None:
    passes = asyncio.run(short_beside_long(serving, long_requests, long_places=PLACES - 2))
    # all three have a quarter of a pass together while long prompts are read, and two places of four: the
    # third waits for the forty tokens of one of the others, and none for a long one
    _, second, third = sorted(passes.waits)
    assert second <= 4 and third <= 4 + 40, passes.waits


def test_where_long_ones_may_take_every_place_a_short_one_waits_for_the_end_of_one(serving: Serving) -> None:
    passes = asyncio.run(short_beside_long(serving, 8, long_places=8))
    assert min(passes.waits) > 40  # what the places of their own are for
