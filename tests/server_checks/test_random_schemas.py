"""Two hundred schemas made at random: whatever is written to its end is what its schema asks for."""

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.server_checks.conftest import IDS, Shared

Rule = tuple[dict[str, Any], Callable[[Any], bool]]
"""A schema, and what it asks for in Python."""
SCHEMAS = 200
WORDS = ("a", "no", "x y", 'q"', "\u00e9\u20ac", "\\", "1", "")


def _text(choose: random.Random, _: int) -> Rule:
    least = choose.randrange(3)
    most = least + choose.randrange(4)
    schema = {"type": "string", "minLength": least, "maxLength": most}
    return schema, lambda one: type(one) is str and least <= len(one) <= most


def _integer(choose: random.Random, _: int) -> Rule:
    least = choose.randrange(-50, 50)
    most = least + choose.randrange(200)
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return schema, lambda one: type(one) is int and least <= one <= most


def _fixed(choose: random.Random, _: int) -> Rule:
    values = [*choose.sample(WORDS, choose.randrange(1, 4)), choose.choice((None, True, 7, -0.5))]
    return {"enum": values}, lambda one: any(type(one) is type(this) and one == this for this in values)


def _truth(choose: random.Random, _: int) -> Rule:
    kind, python = choose.choice((("boolean", bool), ("null", type(None))))
    return {"type": kind}, lambda one: type(one) is python


def _list(choose: random.Random, depth: int) -> Rule:
    inner, fits = _any(choose, depth - 1)
    least = choose.randrange(2)
    most = least + choose.randrange(3)
    schema = {"type": "array", "items": inner, "minItems": least, "maxItems": most}
    return schema, lambda one: type(one) is list and least <= len(one) <= most and all(map(fits, one))


def _record(choose: random.Random, depth: int) -> Rule:
    names = choose.sample(WORDS, choose.randrange(4))
    rules = {name: _any(choose, depth - 1) for name in names}
    required = [name for name in names if choose.random() < 0.7]
    schema = {
        "type": "object",
        "properties": {name: schema for name, (schema, _) in rules.items()},
        "required": required,
        "additionalProperties": False,
    }
    return (
        schema,
        lambda one: (
            type(one) is dict
            and set(required) <= set(one) <= set(rules)
            and all(rules[name][1](value) for name, value in one.items())
        ),
    )


def _either(choose: random.Random, depth: int) -> Rule:
    rules = [_any(choose, depth - 1) for _ in range(2)]
    return {"anyOf": [schema for schema, _ in rules]}, lambda one: any(fits(one) for _, fits in rules)


def _any(choose: random.Random, depth: int) -> Rule:
    leaves = (_text, _integer, _fixed, _truth)
    return choose.choice(leaves if depth < 1 else (*leaves, _list, _record, _record, _either))(choose, depth)


def test_every_text_that_ends_is_valid_under_its_schema(shared: Shared) -> None:
    pytest.importorskip("llguidance")
    rules = [_any(random.Random(number), 3) for number in range(SCHEMAS)]

    async def ask(number: int) -> httpx.Response:
        schema = {"name": "made", "strict": True, "schema": rules[number][0]}
        format_ = {"type": "json_schema", "json_schema": schema}
        body = {"prompt": IDS, "max_tokens": 120, "seed": number, "temperature": 1, "top_k": 0}
        return await shared.client.post("/v1/completions", json=body | {"response_format": format_})

    async def ask_all() -> list[httpx.Response]:
        return await asyncio.gather(*map(ask, range(SCHEMAS)))

    ended = 0
    for (schema, fits), answer in zip(rules, shared(ask_all()), strict=True):
        assert answer.status_code == 200, (schema, answer.text)
        choice = answer.json()["choices"][0]
        if choice["finish_reason"] == "stop":
            ended += 1
            assert fits(json.loads(choice["text"])), (schema, choice["text"])
    assert ended > SCHEMAS * 0.8
