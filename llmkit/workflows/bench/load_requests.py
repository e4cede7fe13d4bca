"""The requests of a load on a server: rows of a file in turn, or made-up texts of the lengths asked for."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from llmkit.errors import MissingError
from llmkit.formats.jsonl import decode_field, read_records
from llmkit.probe.load import Shot
from llmkit.probe.load_config import BenchServeConfig

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
_MaxTokens = Annotated[int, msgspec.Meta(ge=1)]
_WORDS = (
    *("river", "stone", "garden", "winter", "letter", "window", "forest", "silver", "morning", "bread"),
    *("travel", "music", "harbour", "candle", "mountain", "story", "paper", "ocean", "shadow", "village"),
    *("copper", "market", "thunder", "orchard", "lantern", "meadow", "bridge", "needle", "feather", "island"),
)


def read_prompts(path: Path) -> list[dict[str, Any]]:
    """Rows with "prompt" or "messages", and "max_tokens" where a row has its own.

    Raises:
        MissingError, DataError: the file is not there, has no row, or a row is none.
    """
    rows: list[dict[str, Any]] = []
    for line in read_records(path):
        if "messages" in line.record:
            row: dict[str, Any] = {"messages": decode_field(line, "messages", list[dict[str, Any]])}
        else:
            row = {"prompt": decode_field(line, "prompt", str)}
        if "max_tokens" in line.record:
            most = decode_field(line, "max_tokens", _MaxTokens | None)
            row |= {} if most is None else {"max_tokens": most}
        rows.append(row)
    if not rows:
        raise MissingError(
            f"{path}: no prompts", hint='a line each: {"prompt": "..."} or {"messages": [...]}'
        )
    return rows


def requests_of(
    config: BenchServeConfig, model: str, rows: list[dict[str, Any]] | None, words: float
) -> Iterator[Shot]:
    """All requests in order; without end where `config` has no number of them.

    Args:
        config: how many, and how long.
        model: that is asked for.
        rows: of a file, again from the start when all are sent; None: texts are made up.
        words: of a made-up text, for each of its tokens.
    """
    generator = random.Random(config.seed)
    shared = made_up(generator, round(config.shared_tokens * words)) if config.shared_tokens else ""
    number = 0
    while config.requests is None or number < config.requests:
        if rows is not None:
            row = rows[number % len(rows)]
            yield request_of("prompts", config, model, row, row.get("max_tokens", config.max_tokens))
        else:
            is_long = generator.random() < config.long_share
            tokens = config.long_prompt_tokens if is_long else config.prompt_tokens
            own = made_up(generator, max(1, round((tokens - config.shared_tokens) * words)))
            most = config.long_max_tokens if is_long else config.max_tokens
            kind = "long" if is_long else "short"
            yield request_of(kind, config, model, {"prompt": f"{shared} {own}".strip()}, most)
        number += 1


def request_of(kind: str, config: BenchServeConfig, model: str, row: dict[str, Any], max_tokens: int) -> Shot:
    """The request for a row, of so many tokens at most."""
    messages = row.get("messages")
    if messages is None and config.chat:
        messages = [{"role": "user", "content": row["prompt"]}]
    body: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "stream": config.stream}
    body |= {"prompt": row["prompt"]} if messages is None else {"messages": messages}
    if config.stream:
        body["stream_options"] = {"include_usage": True}
    if config.ignore_eos:
        body["ignore_eos"] = True
    return Shot(kind, COMPLETIONS if messages is None else CHAT, body)


def made_up(generator: random.Random, words: int) -> str:
    """A text of so many words."""
    return " ".join(generator.choices(_WORDS, k=words))
