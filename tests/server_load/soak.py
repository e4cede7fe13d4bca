"""A server under load for a while, and what is left of it afterwards.

    python tests/server_load/soak.py MODEL [--minutes 60] [--rate R] [SERVE FLAGS]

Starts `llmkit serve`, finds out how many requests a second it can do, and sends 80 % of that at random: short
and long prompts, streams and answers in one piece, one client in ten that leaves in the middle. Every minute
a line: requests, failures, times to the first text, blocks in use, resident memory. Exits 1 where a request
failed, a block is missing at the end, a counter went back, or memory grew by more than 5 % after the first
fifth.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from llmkit.probe.load import Outcome, Shot, arrivals, at_once, at_rate, send_shot
from llmkit.probe.load_rows import percentiles
from llmkit.workflows.bench_serve import open_client

SHARE_OF_THE_MOST = 0.8
CALIBRATION_REQUESTS = 60
LEAVE_SHARE = 0.1
ALLOWED_GROWTH = 0.05


@dataclass
class Watch:
    """What is seen once a minute."""

    resident_bytes: list[int] = field(default_factory=list)
    counters: dict[str, float] = field(default_factory=dict)
    went_back: list[str] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, help="requests a second; 80 %% of the most by default")
    parser.add_argument("--seed", type=int, default=0)
    given, flags = parser.parse_known_args()  # the rest are flags of llmkit serve
    read, write = os.pipe()
    command = [sys.executable, "-m", "llmkit", "serve", "-m", str(given.model), "--port", "0"]
    server = subprocess.Popen([*command, "--ready-fd", str(write), *flags], pass_fds=(write,))
    os.close(write)
    try:
        with os.fdopen(read) as stream:
            line = stream.readline()
        if not line:
            print("the server did not start", file=sys.stderr)
            return 1
        ready = json.loads(line)
        return asyncio.run(soak(ready["url"], ready["model"], server.pid, given))
    finally:
        server.terminate()
        server.wait(60)


async def soak(url: str, model: str, pid: int, given: argparse.Namespace) -> int:
    """The whole run; the exit status."""
    async with open_client(url, seconds=300) as client:
        context = (await client.get("/v1/models")).json()["data"][0]["max_model_len"]
        rate = given.rate or SHARE_OF_THE_MOST * await most_a_second(client, model, context, given.seed)
        print(f"{model}: {rate:.1f} requests a second for {given.minutes:g} minutes", flush=True)
        watch, outcomes = Watch(), list[Outcome]()
        watching = asyncio.create_task(every_minute(client, pid, watch, outcomes))
        shots = made_up(model, context, random.Random(given.seed))

        async def send(shot: Shot) -> Outcome:
            return await (leaves(client, shot) if shot.kind == "leaves" else send_shot(client, shot))

        times = arrivals(rate, given.seed)
        async for outcome in at_rate(shots, send, times, seconds=given.minutes * 60):
            outcomes.append(outcome)
        watching.cancel()
        return await verdict(client, pid, watch, outcomes)


def made_up(model: str, context: int, generator: random.Random) -> Any:
    """Requests without end."""
    while True:
        is_long = generator.random() < 0.1
        most = max(2, context - 64)
        length = generator.randrange(most // 2, most) if is_long else generator.randrange(4, min(100, most))
        body = {
            "model": model,
            "prompt": [generator.randrange(3, 200) for _ in range(length)],
            "max_tokens": generator.randrange(1, 48),
            "ignore_eos": True,
            "stream": generator.random() < 0.7,
        }
        if body["stream"]:
            body["stream_options"] = {"include_usage": True}
        kind = "leaves" if generator.random() < LEAVE_SHARE else "long" if is_long else "short"
        yield Shot(kind, "/v1/completions", body)


async def most_a_second(client: httpx.AsyncClient, model: str, context: int, seed: int) -> float:
    """Requests a second of as many clients at once as keep the server busy."""
    shots = made_up(model, context, random.Random(seed))
    stays = (one for one in shots if one.kind != "leaves")
    some = (one for _, one in zip(range(CALIBRATION_REQUESTS), stays, strict=False))

    async def send(shot: Shot) -> Outcome:
        return await send_shot(client, shot)

    began = time.perf_counter()
    found = [one async for one in at_once(some, send, concurrency=16, seconds=None)]
    if wrong := [one.error for one in found if one.error]:
        raise SystemExit(f"the server refuses the load: {wrong[0]}")
    return len(found) / (time.perf_counter() - began)


async def leaves(client: httpx.AsyncClient, shot: Shot) -> Outcome:
    """Hang up after a random while: whatever comes of that is no failure."""
    outcome = Outcome("leaves")
    try:
        async with asyncio.timeout(random.uniform(0.0, 0.5)):
            await send_shot(client, shot)
    except TimeoutError:
        pass
    return outcome


async def every_minute(client: httpx.AsyncClient, pid: int, watch: Watch, outcomes: list[Outcome]) -> None:
    while True:
        await asyncio.sleep(60)
        await look(client, pid, watch, outcomes)


async def look(client: httpx.AsyncClient, pid: int, watch: Watch, outcomes: list[Outcome]) -> None:
    metrics = await figures(client)
    for name, value in metrics.items():
        if name.partition("{")[0].endswith("_total"):
            if value < watch.counters.get(name, 0.0):
                watch.went_back.append(name)
            watch.counters[name] = value
    watch.resident_bytes.append(resident(pid))
    first = [one.first_token_seconds for one in outcomes[-1000:] if one.first_token_seconds is not None]
    times = percentiles(first)
    failed = sum(one.error is not None for one in outcomes)
    slow = "" if times is None else f", first text p50 {times.p50 * 1e3:.0f} ms, p99 {times.p99 * 1e3:.0f} ms"
    print(
        f"{len(outcomes)} requests, {failed} failed{slow}, {used_blocks(metrics):.0f} blocks in use, "
        f"{watch.resident_bytes[-1] / 2**20:.0f} MiB",
        flush=True,
    )


async def verdict(client: httpx.AsyncClient, pid: int, watch: Watch, outcomes: list[Outcome]) -> int:
    await asyncio.sleep(2)  # those who left last
    await look(client, pid, watch, outcomes)
    wrong = []
    errors = [one.error for one in outcomes if one.error is not None]
    if errors:
        wrong.append(f"{len(errors)} requests failed: {sorted(set(errors))}")
    if used := used_blocks(await figures(client)):
        wrong.append(f"{used:.0f} blocks are not free")
    if watch.went_back:
        wrong.append(f"counters went back: {watch.went_back}")
    settled = watch.resident_bytes[len(watch.resident_bytes) // 5 :]
    growth = settled[-1] / settled[0] - 1
    if growth > ALLOWED_GROWTH:
        wrong.append(f"memory grew by {growth:.1%}")
    print("; ".join(wrong) if wrong else f"all free, nothing failed, memory {growth:+.1%}")
    return 1 if wrong else 0


async def figures(client: httpx.AsyncClient) -> dict[str, float]:
    text = (await client.get("/metrics")).text
    return {
        f"{one.name}{sorted(one.labels.items())}".replace("[", "{"): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def used_blocks(metrics: dict[str, float]) -> float:
    total = sum(value for name, value in metrics.items() if name.startswith("llmkit_kv_cache_blocks{"))
    free = sum(value for name, value in metrics.items() if name.startswith("llmkit_kv_cache_free_blocks{"))
    assert total, "the server has no blocks?"
    return total - free


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    raise SystemExit(main())
