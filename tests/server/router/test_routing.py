"""The worker with the least to do gets a request, unless another has kept its beginning."""

import httpx
import pytest

from llmkit.server.router.routing import PoisonGuard, PrefixMemory, pick, prefixes_of
from llmkit.server.router.worker import Card, Worker


def worker(name: str, outstanding: int = 0) -> Worker:
    made = Worker(name, httpx.AsyncClient())
    made.up((Card("m"),))
    made.outstanding = outstanding
    return made


def test_the_fewest_outstanding_tokens_win_and_equals_take_turns() -> None:
    workers = [worker("a", 50), worker("b", 10), worker("c", 10)]
    taken = []
    for number in range(1, 5):
        one = pick(workers, (), PrefixMemory())
        assert one is not None
        one.take(100, number)
        taken.append(one.id)
    assert taken == ["b", "c", "a", "b"]


def test_nothing_is_sent_to_who_takes_no_requests() -> None:
    one = worker("a")
    one.down()
    assert pick([one], (), PrefixMemory()) is None


@pytest.mark.parametrize(("outstanding", "chosen"), [(255, "a"), (257, "b")])
def test_a_kept_beginning_is_worth_the_tokens_that_it_saves(outstanding: int, chosen: str) -> None:
    memory = PrefixMemory()
    prompt = b"x" * 1500  # 1,024 bytes of it are known: 256 tokens
    memory.note(prefixes_of(prompt, "k"), "a")
    found = pick([worker("a", outstanding), worker("b")], prefixes_of(prompt[:1400] + b"y", "k"), memory)
    assert found is not None and found.id == chosen


def test_beginnings_of_another_tenant_are_not_known() -> None:
    memory = PrefixMemory()
    memory.note(prefixes_of(b"x" * 300, "alice"), "a")
    assert memory.cached_tokens(prefixes_of(b"x" * 300, "alice"), "a") == 64
    assert memory.cached_tokens(prefixes_of(b"x" * 300, "bob"), "a") == 0


def test_only_so_many_beginnings_are_remembered() -> None:
    memory = PrefixMemory(most=2)
    for text in (b"a", b"b", b"c"):
        memory.note(prefixes_of(text * 256, ""), "w")
    known = [memory.cached_tokens(prefixes_of(text * 256, ""), "w") for text in (b"a", b"b", b"c")]
    assert known == [0, 64, 64]


def test_a_suspect_is_confined_after_one_crash_poison_after_two_and_free_when_it_goes_well() -> None:
    now = [0.0]
    guard = PoisonGuard(lambda: now[0])
    guard.blame(b"x", "a")
    assert (guard.confined_to(b"x"), guard.is_poison(b"x"), guard.confined_to(b"y")) == ("a", False, None)
    guard.clear(b"x")
    assert guard.confined_to(b"x") is None
    guard.blame(b"x", "a")
    guard.blame(b"x", "b")
    assert guard.is_poison(b"x")
    now[0] = 600.0
    assert not guard.is_poison(b"x")
