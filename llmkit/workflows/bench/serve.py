"""llmkit bench serve: load on any server that speaks OpenAI's words, this project's or another's."""

import asyncio
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import msgspec

from llmkit.errors import ConfigError, DataError, RemoteError, UsageError
from llmkit.formats.digest import digest_bytes
from llmkit.formats.jsonl import encode_line
from llmkit.formats.url import split_url
from llmkit.probe.environment import Environment, read_environment
from llmkit.probe.load import (
    Outcome,
    Shot,
    arrivals,
    at_once,
    at_rate,
    open_client,
    send_shot,
    server_said,
)
from llmkit.probe.load_config import BenchServeConfig
from llmkit.probe.load_rows import LoadRow, load_rows
from llmkit.progress import SILENT, Progress
from llmkit.workflows.bench.load_refusal import load_refusal
from llmkit.workflows.bench.load_requests import made_up, read_prompts, request_of, requests_of

PROMPTS = "prompts_sha256"
_PROBE_WORDS = (100, 10)
"""So many, or where the context has no room for them so many."""


@dataclass(frozen=True)
class BenchServeReport:
    """What was sent, and what came of it."""

    work: dict[str, Any]
    """The model, how requests came, their sizes or the digest of a file of them."""
    environment: Environment
    """Of the client."""
    rows: list[LoadRow]
    schema: str = "llmkit.bench-serve/1"
    bench: str = "serve"


def bench_serve(
    url: str,
    config: BenchServeConfig,
    *,
    model: str | None = None,
    prompts: Path | None = None,
    api_key: str | None = None,
    progress: Progress = SILENT,
) -> BenchServeReport:
    """Put load on a server.

    Args:
        url: of the server, with or without `/v1`; `unix:PATH` is a Unix socket.
        config: what to send, and how.
        model: to ask for; None: the first that it lists.
        prompts: rows with "prompt" or "messages", and "max_tokens" where a row has its own, sent in order;
            once where config does not say how many or for how long, else again from the start. None: made-up
            ones.
        api_key: for the server.
        progress: told of each request that is over.

    Raises:
        UsageError: it is no URL.
        ConfigError: nothing says when the load ends.
        RemoteError: nobody answers there, or the server refuses what it is asked.
        MissingError, DataError: the file of prompts is missing, or is none; the server's answer is none.
    """
    rows, config = _checked(url, prompts, config)
    return asyncio.run(_bench(url, config, model, rows, api_key, progress))


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What would be sent; the server is not asked."""

    schema: str = "llmkit.bench-serve-plan/1"
    url: str
    model: str | None
    """None: the first that it lists."""
    arrivals: str
    requests: int | None
    seconds: float | None
    """After which no request begins; None: `requests` says when."""
    prompts: int | None
    """Rows of a file; None: made-up ones, of about `prompt_tokens`."""
    prompt_tokens: int | None
    max_tokens: int | None
    """None: rows have their own."""
    stream: bool


def plan_load(
    url: str, config: BenchServeConfig, *, model: str | None = None, prompts: Path | None = None
) -> LoadPlan:
    """What `bench_serve` would send, after the same checks of settings and prompts."""
    rows, config = _checked(url, prompts, config)
    return LoadPlan(
        url=url,
        model=model,
        arrivals=_arrivals(config),
        requests=config.requests,
        seconds=config.seconds,
        prompts=None if rows is None else len(rows),
        prompt_tokens=config.prompt_tokens if rows is None else None,
        max_tokens=_most(config, rows),
        stream=config.stream,
    )


def _checked(
    url: str, prompts: Path | None, config: BenchServeConfig
) -> tuple[list[dict[str, Any]] | None, BenchServeConfig]:
    """The prompts of a file, and when the load ends: after them, where nothing else says so."""
    if not url.startswith("unix:") and split_url(url) is None:
        raise UsageError(f"--url {url}: not a URL", hint="--url http://127.0.0.1:8000, or unix:SOCKET")
    rows = None if prompts is None else read_prompts(prompts)
    if rows is not None and any("max_tokens" in row for row in rows):  # all say it, and so does their digest
        rows = [{**row, "max_tokens": row.get("max_tokens", config.max_tokens)} for row in rows]
    if config.requests is None and config.seconds is None:
        if rows is None:
            raise ConfigError("nothing says when the load ends", hint="--requests 100, or --seconds 60")
        config = replace(config, requests=len(rows))
    return rows, config


async def _bench(
    url: str,
    config: BenchServeConfig,
    model: str | None,
    rows: list[dict[str, Any]] | None,
    api_key: str | None,
    progress: Progress,
) -> BenchServeReport:
    async with open_client(url, api_key=api_key, seconds=config.timeout_seconds) as client:
        name = model or await _first_model(client, url)
        words = 1.0
        if rows is None:
            words = await _words_per_token(client, url, config, name)
        shots = requests_of(config, name, rows, words)

        async def send(shot: Shot) -> Outcome:
            return await send_shot(client, shot)

        if config.rate is None:
            came = at_once(shots, send, concurrency=config.concurrency, seconds=config.seconds)
        else:
            came = at_rate(shots, send, arrivals(config.rate, config.seed), seconds=config.seconds)
        outcomes: list[Outcome] = []
        async for outcome in came:
            outcomes.append(outcome)
            failed = sum(one.error is not None for one in outcomes)
            progress.update(len(outcomes), config.requests, failed=failed)
    if not outcomes:
        raise DataError("no request was sent", hint="a longer --seconds, or a higher --rate")
    return BenchServeReport(
        work=_work(config, name, rows),
        environment=read_environment("httpx"),
        rows=load_rows(outcomes, config.ttft_target),
    )


async def _first_model(client: httpx.AsyncClient, url: str) -> str:
    try:
        answer = await client.get("/v1/models")
    except httpx.HTTPError as error:
        raise RemoteError(
            f"{url}: no answer ({type(error).__name__})", hint="is the server up? llmkit serve MODEL"
        ) from None
    if answer.status_code != 200:
        raise load_refusal(url, answer.status_code, server_said(answer.content))
    try:
        return str(answer.json()["data"][0]["id"])
    except (ValueError, LookupError, TypeError):
        raise DataError(f"{url}: its /v1/models lists no model", hint="name it with --model") from None


async def _words_per_token(
    client: httpx.AsyncClient, url: str, config: BenchServeConfig, model: str
) -> float:
    """How many made-up words are a token of this model: asked for with one short request."""
    for words in _PROBE_WORDS:
        row = {"prompt": made_up(random.Random(-1), words)}
        outcome = await send_shot(client, request_of("probe", config, model, row, 1))
        if outcome.error != "400":
            break
    if outcome.error is not None:
        raise load_refusal(url, outcome.error, outcome.said)
    if not outcome.prompt_tokens:
        raise DataError("the server does not say how many tokens a prompt has", hint="give --prompts FILE")
    return words / outcome.prompt_tokens


def _work(config: BenchServeConfig, model: str, rows: list[dict[str, Any]] | None) -> dict[str, Any]:
    """All that two loads must have in common to be compared."""
    work: dict[str, Any] = {
        "model": model,
        "arrivals": _arrivals(config),
        "requests": config.requests,
        "seconds": config.seconds,
        PROMPTS: None if rows is None else digest_bytes(b"".join(map(encode_line, rows))),
        "chat": config.chat,
        "stream": config.stream,
        "ignore_eos": config.ignore_eos,
        "max_tokens": _most(config, rows),
        "ttft_target": config.ttft_target,
        "seed": config.seed,
    }
    if rows is not None:
        return work
    return work | {
        "prompt_tokens": config.prompt_tokens,
        "long_prompt_tokens": config.long_prompt_tokens,
        "long_max_tokens": config.long_max_tokens,
        "long_share": config.long_share,
        "shared_tokens": config.shared_tokens,
    }


def _most(config: BenchServeConfig, rows: list[dict[str, Any]] | None) -> int | None:
    """The one number of tokens that is asked for; None: rows have their own, of which their digest tells."""
    asked = {row.get("max_tokens", config.max_tokens) for row in rows or [{}]}
    return asked.pop() if len(asked) == 1 else None


def _arrivals(config: BenchServeConfig) -> str:
    if config.rate is None:
        return f"{config.concurrency} at once"
    return f"{config.rate:g} a second at random"
