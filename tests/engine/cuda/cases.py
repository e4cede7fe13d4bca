"""Cases of attention over pages, and what its definition says of them."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from llmkit.engine.cuda.attention import AttentionRules, PagedAttention
from llmkit.engine.cuda.batch import BlockTables, PagedBatch, mixed_batch
from llmkit.engine.runner import paged_spans
from llmkit.engine.scheduler import Work

Make = Callable[..., Any]
PAGE, PAGES, HEADS, KEY_HEADS, WIDTH = 4, 16, 6, 2, 8
SPANS = {
    "decoding": [(6, 1), (0, 1), (14, 1)],
    "a prompt": [(0, 7)],
    "all sorts": [(6, 1), (11, 1), (0, 5), (3, 6)],
}
TABLES = ([3, 0, 14, 15], [7, 2, 12], [5, 9, 4, 11], [1, 13, 8])


def make_batch(make_text: Make, spans: list[tuple[int, int]]) -> PagedBatch:
    works = [
        Work(make_text([0] * (start + count), table, number=number), start, count, 0)
        for number, ((start, count), table) in enumerate(zip(spans, TABLES, strict=False))
    ]
    tables = BlockTables(4, PAGES, PAGES, torch.device("cpu"))
    return mixed_batch(works, paged_spans(works), tables.slots(works), tables.tensor, PAGE)


def _memory(spans: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Keys and values, numbers only where a text has positions."""
    generator = torch.Generator().manual_seed(0)
    kept = torch.full((2, (PAGES + 1) * PAGE, KEY_HEADS, WIDTH), math.nan)  # the scratch block is last
    for (start, count), table in zip(spans, TABLES, strict=False):
        for at in range(start + count):
            row = table[at // PAGE] * PAGE + at % PAGE
            kept[:, row] = torch.randn(2, KEY_HEADS, WIDTH, generator=generator)
    return kept[0], kept[1]


def _by_hand(
    q: Tensor, keys: Tensor, values: Tensor, spans: list[tuple[int, int]], rules: AttentionRules
) -> Tensor:
    """Query by query and head by head, in float64."""
    rows = []
    for (start, count), table in zip(spans, TABLES, strict=False):
        for at in range(start, start + count):
            first = 0 if rules.window is None else max(0, at - rules.window + 1)
            seen = [table[one // PAGE] * PAGE + one % PAGE for one in range(first, at + 1)]
            heads = []
            for head in range(HEADS):
                k, v = (kept[seen, head // (HEADS // KEY_HEADS)].double() for kept in (keys, values))
                scores = k @ q[len(rows), head].double() * rules.scale
                if rules.softcap is not None:
                    scores = torch.tanh(scores / rules.softcap) * rules.softcap
                weights = scores.exp()
                extra = 0.0 if rules.sinks is None else float(rules.sinks[head].double().exp())
                heads.append(weights @ v / (weights.sum() + extra))
            rows.append(torch.stack(heads))
    return torch.stack(rows).float()


RULES = {
    "plain": AttentionRules(0.4),
    "window": AttentionRules(0.4, window=4),
    "window of one": AttentionRules(0.4, window=1),
    "soft cap": AttentionRules(1.5, softcap=2.0),
    "soft cap and window": AttentionRules(1.5, window=3, softcap=2.0),
    "sinks": AttentionRules(0.4, window=4, sinks=torch.linspace(-1, 2, HEADS)),
}


def check(attention: PagedAttention, make_text: Make, spans: list[tuple[int, int]], name: str) -> None:
    keys, values = _memory(spans)
    q = torch.randn(
        sum(count for _, count in spans), HEADS, WIDTH, generator=torch.Generator().manual_seed(1)
    )
    batch = make_batch(make_text, spans)
    found = attention.over(batch)(q, keys, values, RULES[name])
    torch.testing.assert_close(found, _by_hand(q, keys, values, spans, RULES[name]), rtol=1e-5, atol=1e-5)
