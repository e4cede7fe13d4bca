"""llmkit bench decode: how long each further token of one text takes."""

from typing import Any

import torch

from llmkit.engine.config import SamplingConfig
from llmkit.engine.decode import Engine
from llmkit.engine.request import Request
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer
from llmkit.probe.bench import OURS
from llmkit.probe.config import BenchDecodeConfig
from llmkit.probe.work import decode_work
from llmkit.workflows.bench_case import BenchCase, Point, check_positions
from llmkit.workflows.bench_peer import TRANSFORMERS, PeerText


def check(config: ModelConfig, point: Point) -> None:
    """Refuse a text that does not fit."""
    check_positions(config, point, cache_positions(point) + 1)


def cache_positions(point: Point) -> int:
    """That a case keeps."""
    return _held(point) + int(point["tokens"])


def build(
    model: Transformer, peer: object | None, point: Point, settings: BenchDecodeConfig
) -> list[BenchCase]:
    """llmkit's case at a point, and the peer's where there is one. Both make the same steps.

    llmkit draws one token more than it makes steps: the first one follows from what the cache holds, which is
    read in the round that does not count.
    """
    tokens, held = int(point["tokens"]), _held(point)
    random = torch.Generator().manual_seed(settings.seed)
    ids = torch.randint(model.config.vocab_size, (1, held), generator=random)
    weight = model.model.embed_tokens.weight
    work = decode_work(
        model.config,
        tokens=tokens,
        depth=held,
        weight_bytes=streamed_bytes(model),
        itemsize=weight.dtype.itemsize,
    )
    engine = Engine(model)
    greedy = SamplingConfig(max_tokens=tokens + 1, temperature=0.0, ignore_eos=True)
    request = Request(tuple(ids[0].tolist()), greedy)
    cases = [BenchCase(OURS, point, work, lambda: [drawn.id for drawn in engine.run(request)][1:])]
    if peer is not None:
        cases.append(_peer_case(peer, ids, point, cases[0]))
    return cases


def streamed_bytes(model: Transformer) -> int:
    """Bytes of weights that one step reads: all but the tables of which it looks up one row."""
    tables = [model.model.embed_positions]
    if not model.config.tie_word_embeddings:
        tables.append(model.model.embed_tokens)
    looked_up = sum(weight.nbytes for table in tables if table is not None for weight in table.parameters())
    return sum(weight.nbytes for weight in model.parameters()) - looked_up


def _peer_case(peer: Any, ids: torch.Tensor, point: Point, ours: BenchCase) -> BenchCase:
    text = PeerText(peer, ids)
    assert text.next_token is not None
    start = torch.cat((ids, text.next_token), dim=1)
    tokens = int(point["tokens"])
    return BenchCase(
        TRANSFORMERS, point, ours.work, lambda: text.write(start, tokens).tolist(), prepare=text.prepare
    )


def _held(point: Point) -> int:
    """Tokens in the cache before the first step: no text begins from nothing."""
    return max(1, int(point["depth"]))
