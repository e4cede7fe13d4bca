"""What an answer took that was given up is learned from its worker, where that is ours and knows."""

import asyncio

from llmkit.server.gate import Slot
from llmkit.server.router.left import learn_what_it_took
from tests.server.router.fakes import FakeWorker, said


def learned(one: FakeWorker) -> tuple[int, float | None]:
    slot = Slot()
    asyncio.run(learn_what_it_took(one.worker, "mine", slot))
    return slot.usage.total_tokens, slot.first_token_seconds


def test_a_worker_of_ours_is_asked_until_it_knows_and_somebody_elses_is_not() -> None:
    one, other = FakeWorker(said("a")), FakeWorker(said("b"), is_own=False)
    for fake in (one, other):
        fake.left["mine"] = "4 0 37 0.5 - 0 -"
    assert learned(one) == (41, 0.5) and not one.left
    assert learned(one) == (0, None)  # it knows of none any more
    assert learned(other) == (0, None) and other.left


def test_a_worker_that_tells_something_else_costs_nothing() -> None:
    one = FakeWorker(said("a"))
    one.left["mine"] = "nonsense"
    assert learned(one) == (0, None)
