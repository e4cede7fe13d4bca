"""The load against a server made up here, whose answers are known to the token."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from statistics import mean
from typing import Any

import httpx
import pytest

from llmkit.probe.load import MOST_SAID, Outcome, Shot, arrivals, at_once, at_rate, send_shot, server_said

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}


def shots(count: int) -> Iterator[Shot]:
    return (Shot("short", "/v1/completions", {"number": number}) for number in range(count))


def events(*told: Any) -> bytes:
    return b"".join(
        b"data: " + (b"[DONE]" if one is None else json.dumps(one).encode()) + b"\n\n" for one in told
    )


def outcome_of(content: bytes, *, status: int = 200, kind: str = "text/event-stream") -> Outcome:
    """What the load makes of one answer, by a clock that ticks with every look at it."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=content, headers={"content-type": kind})

    async def go() -> Outcome:
        transport, ticks = httpx.MockTransport(answer), itertools.count()
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await send_shot(client, next(shots(1)), clock=lambda: float(next(ticks)))

    return asyncio.run(go())


def text(said: str) -> dict[str, Any]:
    return {"choices": [{"text": said}]}


def test_texts_are_timed_and_tokens_are_the_servers_own_count() -> None:
    role = {"choices": [{"delta": {"role": "assistant", "content": ""}}]}
    delta = {"choices": [{"delta": {"content": "c"}}]}
    found = outcome_of(events(role, text("a"), text("b"), delta, {"choices": [], "usage": USAGE}, None))
    assert (found.first_token_seconds, found.gaps, found.error) == (1.0, [1.0, 1.0], None)
    assert (found.prompt_tokens, found.cached_tokens, found.completion_tokens) == (7, 4, 3)
    assert found.seconds == 4.0  # the clock was looked at before, at each text, and after


def test_what_a_stream_that_ends_with_an_error_says_of_it_is_kept() -> None:
    found = outcome_of(events(text("a"), {"error": {"message": "the worker is gone"}}))
    assert (found.error, found.said) == ("error event", "the worker is gone")


def test_an_answer_in_one_piece_has_no_first_text() -> None:
    found = outcome_of(json.dumps({"usage": USAGE}).encode(), kind="application/json")
    assert (found.first_token_seconds, found.completion_tokens, found.error) == (None, 3, None)


@pytest.mark.parametrize(
    ("content", "status", "kind", "error"),
    [
        (events(text("a")), 200, "text/event-stream", "cut short"),
        (events(text("a"), {"error": {"message": "m"}}), 200, "text/event-stream", "error event"),
        (b"{}", 503, "application/json", "503"),
        (b"{", 200, "application/json", "JSONDecodeError"),
    ],
)
def test_what_goes_wrong_is_told_apart(content: bytes, status: int, kind: str, error: str) -> None:
    assert outcome_of(content, status=status, kind=kind).error == error


async def gathered(outcomes: AsyncIterator[Outcome]) -> list[Outcome]:
    return [one async for one in outcomes]


def test_so_many_are_under_way_and_never_more() -> None:
    under_way, seen = 0, []

    async def send(shot: Shot) -> Outcome:
        nonlocal under_way
        under_way += 1
        seen.append(under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return Outcome("short")

    found = asyncio.run(gathered(at_once(shots(20), send, concurrency=3, seconds=None)))
    assert len(found) == 20 and max(seen) == 3


def test_none_begins_after_the_time_and_those_under_way_end() -> None:
    now = 0.0

    async def send(shot: Shot) -> Outcome:
        nonlocal now
        now += 1.0
        return Outcome("short")

    found = asyncio.run(gathered(at_once(shots(100), send, concurrency=1, seconds=3.0, clock=lambda: now)))
    assert [one.sent for one in found] == [0.0, 1.0, 2.0]


def test_a_slow_answer_holds_no_later_request_up_where_a_rate_is_given() -> None:
    begun: list[int] = []
    all_begun = asyncio.Event()

    async def send(shot: Shot) -> Outcome:
        begun.append(shot.body["number"])
        if len(begun) == 5:
            all_begun.set()
        await all_begun.wait()  # as a server does that is too slow
        return Outcome("short")

    found = asyncio.run(gathered(at_rate(shots(5), send, iter([0.0] * 5), seconds=None)))
    assert begun == [0, 1, 2, 3, 4] and len(found) == 5


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"error": {"message": "no key", "type": "t"}}, "no key"),
        ({"type": "error", "error": {"type": "t", "message": "no key"}}, "no key"),
        ({"error": "no\n key\x1b"}, "no key"),
        ({"object": "error", "message": "no key"}, "no key"),
        ({"detail": "no key"}, "no key"),
        ({"detail": [{"loc": 1}]}, None),
        ({"error": {"message": "m" * 1000}}, "m" * MOST_SAID),
        ({}, None),
        ([1], None),
    ],
)
def test_a_servers_message_is_read_in_whoevers_shape_and_kept_to_a_line(told: Any, said: str | None) -> None:
    assert server_said(json.dumps(told).encode()) == said
    assert server_said(b"<html>") is None
    body = {"error": {"message": "no key"}}
    assert outcome_of(json.dumps(body).encode(), status=401).said == "no key"


def test_an_error_of_ours_is_raised_and_not_counted() -> None:
    async def send(shot: Shot) -> Outcome:
        raise RuntimeError("ours")

    for run in (
        at_once(shots(5), send, concurrency=2, seconds=None),
        at_rate(shots(5), send, iter([0.0] * 5), seconds=None),
    ):
        with pytest.raises(RuntimeError, match="ours"):
            asyncio.run(gathered(run))


def test_arrivals_are_a_poisson_process_and_the_same_for_a_seed() -> None:
    times = list(itertools.islice(arrivals(4.0, 1), 20_001))
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert times[0] == 0.0 and mean(gaps) == pytest.approx(1 / 4, rel=0.03)
    assert mean(gap**2 for gap in gaps) == pytest.approx(2 / 4**2, rel=0.06)  # exponential: E[x²] = 2/λ²
    assert times[:50] == list(itertools.islice(arrivals(4.0, 1), 50))
