"""llmkit bench prefill: how long a prompt takes until its first token is known."""

from collections.abc import Sequence
from copy import deepcopy
from itertools import count
from math import gcd

import torch
from torch import Tensor

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.native.weights import PackedModel
from llmkit.engine.request import Request
from llmkit.model.cache import KVCache
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
    if isinstance(model, PackedModel):
        cases = [BenchCase(OURS, point, work, NativePrefill(model, ids[0], depth), on_kernels=True)]
    else:
        run = Prefill(model, ids, depth)
        cases = [BenchCase(OURS, point, work, run, prepare=run.prepare)]
    if isinstance(peer, LlamaPeer):
        cases.append(_llama_case(peer, ids[0], cases[0]))
    elif peer is not None:
        text = PeerText(peer, ids[:, :depth])
        cases.append(
            BenchCase(TRANSFORMERS, point, work, lambda: int(text.read(ids[:, depth:])), prepare=text.prepare)
        )
    return cases


PREFILL_TOKENS = EngineConfig.pass_tokens


class Prefill:
    """Reads a prompt with torch as `Engine` does: in passes of PREFILL_TOKENS, the last position scored.

    `prepare` brings the cache back to before the prompt, outside the time.

    Args:
        model: in evaluation mode.
        ids: (1, S) what the cache holds before, and the prompt.
        depth: how many of them the cache holds before.
    """

    def __init__(self, model: Transformer, ids: Tensor, depth: int) -> None:
        self._model = model
        self._prompt = ids[:, depth:]
        self._depth = depth
        self._cache = KVCache(model.config, 1, ids.shape[1], model.model.embed_tokens.weight.dtype)
        if depth:
            self._read(ids[:, :depth])
        self._held = deepcopy(self._cache) if model.config.state_layers else None
        """The cache before the prompt, where states keep it from going back."""

    def prepare(self) -> None:
        """The cache is as it was before the prompt."""
        if self._held is None:
            self._cache.rewind(self._depth)
        else:
            self._cache = deepcopy(self._held)

    def __call__(self) -> int:
        """The best token after the prompt."""
        return int(self._read(self._prompt))

    @torch.inference_mode()
    def _read(self, ids: Tensor) -> Tensor:
        for part in torch.split(ids, PREFILL_TOKENS, dim=1):
            hidden = self._model.hidden(part, cache=self._cache)
        return self._model.logits(hidden[0, -1]).argmax()


class NativePrefill:
    """Has `Engine` read a prompt with the kernels.

    Nothing of the prompt may be found in the cache, and all that comes before it: so each run turns the
    prompt by one token more, and what comes before ends with a block.

    Args:
        model: packed.
        ids: (S,) what the cache holds before, and the prompt.
        depth: how many of them the cache holds before.
    """

    def __init__(self, model: PackedModel, ids: Tensor, depth: int) -> None:
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
