"""llmkit bench decode: how long each further token of one text takes."""

from collections.abc import Iterator
from typing import Any

import torch

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.request import Drawn, Request
from llmkit.estimate.architecture_of import architecture_of
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

    llmkit draws one token more than it makes steps: the first one follows from what the cache holds, and is
    drawn, with the cache filled, before the clock starts.
    """
    tokens, held = int(point["tokens"]), _held(point)
    random = torch.Generator().manual_seed(settings.seed)
    ids = torch.randint(model.config.vocab_size, (1, held), generator=random)
    dtype = model.model.embed_tokens.weight.dtype
    work = decode_work(
        model.config,
        tokens=tokens,
        depth=held,
        weight_bytes=streamed_bytes(model),
        dtype=str(dtype).removeprefix("torch."),
    )
    text = _Text(model, ids[0].tolist(), tokens)
    cases = [BenchCase(OURS, point, work, text.write, prepare=text.prepare)]
    if peer is not None:
        cases.append(_peer_case(peer, ids, point, cases[0]))
    return cases


class _Text:
    """Llmkit's text: its first token, then the others."""

    def __init__(self, model: Transformer, prompt: list[int], tokens: int) -> None:
        config = EngineConfig(positions=len(prompt) + tokens, max_texts=1, reuse=False)
        if (most := len(prompt) - 1) > tokens + 1:  # one block of it is read once, and no other is ever full
            config = EngineConfig(positions=2 * most, block_tokens=most, max_texts=1)
        greedy = SamplingConfig(max_tokens=tokens + 1, temperature=0.0, ignore_eos=True)
        self._engine = Engine(model, config)
        self._request = Request(tuple(prompt), greedy)
        self._rest: Iterator[Drawn] = iter(())

    def prepare(self) -> None:
        """Read what the cache holds, and draw the token after it."""
        self._rest = self._engine.run(self._request)
        next(self._rest)

    def write(self) -> list[int]:
        """The tokens after that."""
        return [drawn.id for drawn in self._rest]


def streamed_bytes(model: Transformer) -> int:
    """Bytes of weights that one step reads: experts that it uses, no tables of which it looks up one row."""
    architecture = architecture_of(model.config)
    parts = architecture.by_part
    looked_up = parts.get("positions", 0) + (0 if architecture.tied_head else parts["embeddings"])
    return (architecture.active_parameters - looked_up) * model.model.embed_tokens.weight.itemsize


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
