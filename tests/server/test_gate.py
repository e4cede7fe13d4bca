"""The open gate lets everybody in, as one caller."""

import asyncio

from llmkit.server.gate import OpenGate, Sizes


def test_everybody_is_the_same_caller_without_keys() -> None:
    gate = OpenGate()
    assert gate.identify(None) == gate.identify("anything")
    assert gate.identify(None).models is None and not gate.identify(None).is_admin

    with gate.begin(gate.identify(None)), gate.begin(gate.identify(None)):
        pass

    async def enter() -> int:
        async with gate.enter(gate.identify(None), Sizes(1, 1, answers=1), model="m") as slot:
            return slot.usage.total_tokens

    assert asyncio.run(enter()) == 0
