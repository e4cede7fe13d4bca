"""A server under load for a while, and what is left of it afterwards.

    python tests/server_load/soak.py MODEL [--minutes 60] [--rate R] [--kill-every 60] [SERVE FLAGS]

Starts `llmkit serve`, finds out how many requests a second it can do, and sends 80 % of that at random: short
and long prompts, streams and answers in one piece, one client in ten that leaves in the middle. Every minute
a line: requests, failures, times to the first text, blocks in use, resident memory. Exits 1 where a request
failed, a block is missing at the end, a counter went back, or memory grew by more than 5 % after the first
fifth.

With --kill-every S the server has two workers or more (--replicas), and every S seconds one of them is
killed. Streams that it was writing end with an error event, and are counted as cut; a request without a byte
of its answer yet is to be answered all the same, and every other error is a failure.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from llmkit.probe.load import Outcome, Shot, arrivals, at_once, at_rate, open_client, send_shot
from llmkit.probe.load_rows import percentiles

SHARE_OF_THE_MOST = 0.8
CALIBRATION_REQUESTS = 60
LEAVE_SHARE = 0.1
ALLOWED_GROWTH = 0.05
CUT_SECONDS = 3.0
"""After a kill in which a stream that breaks was the killed worker's."""


@dataclass
class Watch:
    """What is seen once a minute."""

    resident_bytes: list[int] = field(default_factory=list)
    counters: dict[str, float] = field(default_factory=dict)
    went_back: list[str] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    """When workers were killed, in seconds since the load began."""

    def failed(self, outcomes: list[Outcome]) -> list[str]:
        """What went wrong, but for streams of killed workers."""
        wrong = [one for one in outcomes if one.error is not None]
        return [str(one.error) for one in wrong if not self.is_cut(one)]

    def is_cut(self, outcome: Outcome) -> bool:
        """Whether it is a stream that a killed worker was writing."""
        end = outcome.sent + outcome.seconds
        return outcome.error == "error event" and any(0 <= end - at < CUT_SECONDS for at in self.kills)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, help="requests a second; 80 %% of the most by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kill-every", type=float, help="seconds; one of the workers is killed")
    given, flags = parser.parse_known_args()  # the rest are flags of llmkit serve
    read, write = os.pipe()
    command = [sys.executable, "-m", "llmkit", "serve", "-m", str(given.model), "--port", "0"]
    folder = tempfile.TemporaryDirectory(prefix="soak-")
    socket = Path(folder.name) / "admin"
    if given.kill_every is not None:
        flags += ["--admin-socket", str(socket)] + ([] if "--replicas" in flags else ["--replicas", "2"])
    server = subprocess.Popen([*command, "--ready-fd", str(write), *flags], pass_fds=(write,))
    os.close(write)
    try:
        with os.fdopen(read) as stream:
            line = stream.readline()
        if not line:
            print("the server did not start", file=sys.stderr)
            return 1
        ready = json.loads(line)
        return asyncio.run(soak(ready["url"], ready["model"], server.pid, socket, given))
    finally:
        server.terminate()
        server.wait(60)
        folder.cleanup()


async def soak(url: str, model: str, pid: int, socket: Path, given: argparse.Namespace) -> int:
    """The whole run; the exit status."""
    async with open_client(url, seconds=300) as client:
        context = (await client.get("/v1/models")).json()["data"][0]["max_model_len"]
        rate = given.rate or SHARE_OF_THE_MOST * await most_a_second(client, model, context, given.seed)
        print(f"{model}: {rate:.1f} requests a second for {given.minutes:g} minutes", flush=True)
        watch, outcomes = Watch(), list[Outcome]()
        watching = [asyncio.create_task(every_minute(client, pid, watch, outcomes))]
        if given.kill_every is not None:
            watching.append(asyncio.create_task(kill_workers(socket, given.kill_every, watch)))
        shots = made_up(model, context, random.Random(given.seed))

        async def send(shot: Shot) -> Outcome:
            return await (leaves(client, shot) if shot.kind == "leaves" else send_shot(client, shot))

        times = arrivals(rate, given.seed)
        async for outcome in at_rate(shots, send, times, seconds=given.minutes * 60):
            outcomes.append(outcome)
        for one in watching:
            one.cancel()
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


async def kill_workers(socket: Path, seconds: float, watch: Watch) -> None:
    """Kill the worker that has the most to do, again and again."""
    began = time.monotonic()
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(socket))) as admin:
        while True:
            await asyncio.sleep(seconds)
            (model,) = (await admin.get("http://admin/admin/models")).json()["models"]
            workers = [worker for version in model["versions"] for worker in version["workers"]]
            up = [worker for worker in workers if worker["state"] == "up"]
            if len(up) < 2:
                print(f"nobody is killed: {len(up)} of {len(workers)} workers are up", flush=True)
                continue
            victim = max(up, key=lambda one: one["running"])
            watch.kills.append(time.monotonic() - began)
            os.kill(victim["pid"], signal.SIGKILL)


async def every_minute(client: httpx.AsyncClient, pid: int, watch: Watch, outcomes: list[Outcome]) -> None:
    while True:
        await asyncio.sleep(60)
        await look(client, pid, watch, outcomes)


async def look(client: httpx.AsyncClient, pid: int, watch: Watch, outcomes: list[Outcome]) -> None:
    metrics = await figures(client)
    for name, value in metrics.items():
        if name.partition("{")[0].endswith("_total"):
            if value < watch.counters.get(name, 0.0) and "'worker'" not in name:  # which begins again
                watch.went_back.append(name)
            watch.counters[name] = value
    watch.resident_bytes.append(resident(pid))
    first = [one.first_token_seconds for one in outcomes[-1000:] if one.first_token_seconds is not None]
    times = percentiles(first)
    failed = len(watch.failed(outcomes))
    cut = sum(map(watch.is_cut, outcomes))
    killed = f", {len(watch.kills)} workers killed, {cut} streams cut" if watch.kills else ""
    slow = "" if times is None else f", first text p50 {times.p50 * 1e3:.0f} ms, p99 {times.p99 * 1e3:.0f} ms"
    print(
        f"{len(outcomes)} requests, {failed} failed{killed}{slow}, {used_blocks(metrics):.0f} blocks in use, "
        f"{watch.resident_bytes[-1] / 2**20:.0f} MiB",
        flush=True,
    )


async def verdict(client: httpx.AsyncClient, pid: int, watch: Watch, outcomes: list[Outcome]) -> int:
    await asyncio.sleep(2)  # those who left last
    await look(client, pid, watch, outcomes)
    wrong = []
    errors = watch.failed(outcomes)
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
