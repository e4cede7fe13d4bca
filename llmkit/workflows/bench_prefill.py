"""llmkit bench prefill: how long a prompt takes until its first token is known."""

import torch
from torch import Tensor

from llmkit.engine.engine import EngineConfig
from llmkit.model.cache import KVCache
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer
from llmkit.probe.bench import OURS
from llmkit.probe.config import BenchPrefillConfig
from llmkit.probe.work import prefill_work
from llmkit.workflows.bench_case import BenchCase, Point, check_positions
from llmkit.workflows.bench_peer import TRANSFORMERS, PeerText


def check(config: ModelConfig, point: Point) -> None:
    """Refuse a prompt that does not fit."""
    check_positions(config, point, int(point["prompt"]) + int(point["depth"]))


def cache_positions(point: Point) -> int:
    """That a case keeps."""
    return int(point["prompt"]) + int(point["depth"])


def build(
    model: Transformer, peer: object | None, point: Point, settings: BenchPrefillConfig
) -> list[BenchCase]:
    """llmkit's case at a point, and the peer's where there is one."""
    prompt, depth = int(point["prompt"]), int(point["depth"])
    random = torch.Generator().manual_seed(settings.seed)
    ids = torch.randint(model.config.vocab_size, (1, depth + prompt), generator=random)
    work = prefill_work(model.config, prompt=prompt, depth=depth)
    prefill = Prefill(model, ids, depth)
    cases = [BenchCase(OURS, point, work, prefill)]
    if peer is not None:
        text = PeerText(peer, ids[:, :depth])
        cases.append(
            BenchCase(TRANSFORMERS, point, work, lambda: int(text.read(ids[:, depth:])), prepare=text.prepare)
        )
    return cases


PREFILL_TOKENS = EngineConfig.pass_tokens


class Prefill:
    """Reads a prompt as `Engine` does: in passes of PREFILL_TOKENS, the last position scored.

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

    def __call__(self) -> int:
        """The best token after the prompt."""
        self._cache.rewind(self._depth)
        return int(self._read(self._prompt))

    @torch.inference_mode()
    def _read(self, ids: Tensor) -> Tensor:
        for part in torch.split(ids, PREFILL_TOKENS, dim=1):
            hidden = self._model.hidden(part, cache=self._cache)
        return self._model.logits(hidden[0, -1]).argmax()
