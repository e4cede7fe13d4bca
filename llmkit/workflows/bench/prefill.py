"""llmkit bench prefill: how long a prompt takes until its first token is known."""

from collections.abc import Sequence
from itertools import count
from math import gcd

import torch
from torch import Tensor

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.native.weights import PackedModel
from llmkit.engine.request import Request
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer
from llmkit.probe.bench import OURS
from llmkit.probe.config import BenchPrefillConfig
from llmkit.probe.work import prefill_work
from llmkit.workflows.bench.case import BenchCase, Point, check_positions
from llmkit.workflows.bench.llama import LLAMA_CPP, LlamaPeer
from llmkit.workflows.bench.peer import TRANSFORMERS, PeerText


def check(config: ModelConfig, point: Point) -> None:
    """Refuse a prompt that does not fit."""
    check_positions(config, point, cache_positions(point) + 1)


def cache_positions(point: Point) -> int:
    """That a case keeps of its text."""
    return int(point["prompt"]) + int(point["depth"])


def build(
    model: Transformer | PackedModel,
    peer: object | None,
    point: Point,
    settings: BenchPrefillConfig,
) -> list[BenchCase]:
    """llmkit's case at a point, and the peer's where there is one.

    Args:
        model: in evaluation mode; or packed for the kernels, which then compute.
        peer: what `as_transformers` gives, or a LlamaPeer.
    """
    prompt, depth = int(point["prompt"]), int(point["depth"])
    random = torch.Generator().manual_seed(settings.seed)
    ids = torch.randint(model.config.vocab_size, (1, depth + prompt), generator=random)
    work = prefill_work(model.config, prompt=prompt, depth=depth)
    on_kernels = isinstance(model, PackedModel)
    cases = [BenchCase(OURS, point, work, Prefill(model, ids[0], depth), on_kernels=on_kernels)]
    if isinstance(peer, LlamaPeer):
        cases.append(_llama_case(peer, ids[0], cases[0]))
    elif peer is not None:
        text = PeerText(peer, ids[:, :depth])
        cases.append(
            BenchCase(TRANSFORMERS, point, work, lambda: int(text.read(ids[:, depth:])), prepare=text.prepare)
        )
    return cases


class Prefill:
    """Has `Engine` read a prompt.

    Nothing of the prompt may be found in the cache, and all that comes before it: so each run turns the
    prompt by one token more, and what comes before ends with a block.

    Args:
        model: in evaluation mode; or packed for the kernels, which then compute.
        ids: (S,) what the cache holds before, and the prompt.
        depth: how many of them the cache holds before.
    """

    def __init__(self, model: Transformer | PackedModel, ids: Tensor, depth: int) -> None:
        size = gcd(depth, EngineConfig.block_tokens)
        positions = -(-(len(ids) + 1) // size) * size
        finds = depth > 0
        config = EngineConfig(
            positions=positions, block_tokens=size, max_texts=1, reuse=finds, lets_go=not finds
        )
        self._engine = Engine(model, config)
        self._held, self._prompt = ids[:depth].tolist(), ids[depth:].tolist()
        self._turn = count()
        if finds and model.config.state_layers:
            self._read((*self._held, self._prompt[0]))  # a state is kept where all but the last block ends

    def __call__(self) -> int:
        """The best token after the prompt."""
        at = next(self._turn) % len(self._prompt)
        return self._read((*self._held, *self._prompt[at:], *self._prompt[:at]))

    def _read(self, ids: Sequence[int]) -> int:
        greedy = SamplingConfig(max_tokens=1, temperature=0.0, ignore_eos=True)
        (drawn,) = self._engine.run(Request(tuple(ids), greedy))
        return drawn.id


def _llama_case(peer: LlamaPeer, ids: Tensor, ours: BenchCase) -> BenchCase:
    depth, threads = int(ours.point["depth"]), int(ours.point["threads"])
    context = peer.context([ids[:depth].tolist()], len(ids), threads)
    prompt = ids[depth:].tolist()
    return BenchCase(
        LLAMA_CPP,
        ours.point,
        ours.work,
        lambda: peer.prefill(context, prompt),
        memory_bytes=lambda: peer.memory_bytes,
    )
