"""What a cache of prompts saves where clients share a system prompt: hit rate, and prefill not done.

    python tests/server_load/shared_prompts.py MODEL [--system-tokens 512] [--systems 4] [--requests 128]
        [--clients 8] [SERVE FLAGS]

Chats of clients that have one of a few system prompts, each with a question of its own, beside the same
number of requests that have nothing in common. Prints, of each: the share of prompt tokens that were in the
cache, the tokens that were computed, and times to the first token. The counts are the server's, exact
whatever else the machine does; the times are not.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from llmkit.probe.load import Outcome, Shot, at_once, open_client, send_shot
from llmkit.probe.load_rows import percentiles

QUESTION_TOKENS = 32
ANSWER_TOKENS = 16


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--system-tokens", type=int, default=512)
    parser.add_argument("--systems", type=int, default=4)
    parser.add_argument("--requests", type=int, default=128)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    given, flags = parser.parse_known_args()  # the rest are flags of llmkit serve
    read, write = os.pipe()
    command = [sys.executable, "-m", "llmkit", "serve", "-m", str(given.model), "--port", "0", *flags]
    server = subprocess.Popen([*command, "--ready-fd", str(write), "-q"], pass_fds=(write,))
    os.close(write)
    try:
        with os.fdopen(read) as stream:
            ready = json.loads(stream.readline())
        return asyncio.run(compare(ready["url"], ready["model"], given))
    finally:
        server.terminate()
        server.wait(60)


async def compare(url: str, model: str, given: argparse.Namespace) -> int:
    rows = {}
    async with open_client(url, seconds=600) as client:
        for name, systems in (("shared", given.systems), ("nothing in common", given.requests)):
            rows[name] = await run(client, made_up(model, systems, given), given, name)
    saved = 1 - rows["shared"][1] / rows["nothing in common"][1]
    print(f"shared system prompts: {saved:.1%} of the prefill saved")
    at_best = given.system_tokens * (given.requests - given.systems)
    at_best /= (given.system_tokens + QUESTION_TOKENS) * given.requests
    print(f"at best, each system prompt read once: {at_best:.1%}")
    return 0


def made_up(model: str, systems: int, given: argparse.Namespace) -> list[Shot]:
    """Requests as token ids: one of so many beginnings, and an end of its own."""
    generator = random.Random(given.seed + systems)
    beginnings = [[generator.randrange(3, 200) for _ in range(given.system_tokens)] for _ in range(systems)]

    def body(number: int) -> dict[str, Any]:
        question = [generator.randrange(3, 200) for _ in range(QUESTION_TOKENS)]
        prompt = [*beginnings[number % systems], *question]
        return {
            **{"model": model, "prompt": prompt, "max_tokens": ANSWER_TOKENS, "ignore_eos": True},
            **{"stream": True, "stream_options": {"include_usage": True}},
        }

    return [Shot("short", "/v1/completions", body(number)) for number in range(given.requests)]


async def run(
    client: httpx.AsyncClient, shots: list[Shot], given: argparse.Namespace, name: str
) -> tuple[float, int]:
    """The share of prompt tokens in the cache, and the tokens computed."""

    async def send(shot: Shot) -> Outcome:
        return await send_shot(client, shot)

    found = [one async for one in at_once(iter(shots), send, concurrency=given.clients, seconds=None)]
    if wrong := [one.error for one in found if one.error]:
        raise SystemExit(f"requests failed: {sorted(set(wrong))}")
    read = sum(one.prompt_tokens for one in found)
    cached = sum(one.cached_tokens for one in found)
    times = percentiles([one.first_token_seconds for one in found if one.first_token_seconds is not None])
    assert times is not None
    print(
        f"{name}: {cached / read:.1%} of {read:,} prompt tokens found, {read - cached:,} computed; "
        f"first token p50 {times.p50 * 1e3:.0f} ms, p99 {times.p99 * 1e3:.0f} ms",
        flush=True,
    )
    return cached / read, read - cached


if __name__ == "__main__":
    raise SystemExit(main())
