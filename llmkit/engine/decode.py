"""The decoding loop: the prompt in one pass, then a token at a time on the key/value cache.

One sequence at a time, so that no text depends on what else is asked for.
Shapes: V vocab_size.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from llmkit.engine.request import Drawn, FinishReason, Request, Scored
from llmkit.engine.sampling import Sampler
from llmkit.engine.step import DecodeStep
from llmkit.model.cache import KVCache
from llmkit.model.transformer import Transformer

PREFILL_TOKENS = 512
"""Positions of a prompt in one pass: enough to fill the machine, few enough for Ctrl-C to be quick."""


class Engine:
    """Writes texts with one model. The cache's memory is kept from text to text.

    A prompt that is that of the text before is not read again: samples of one prompt read it once.
    """

    def __init__(self, model: Transformer, *, stop_ids: Iterable[int] = ()) -> None:
        """
        Args:
            model: in evaluation mode.
            stop_ids: ids that end a text, beside those that its config names.
        """
        self._model = model
        self._stop_ids = frozenset((*model.config.eos_token_ids, *stop_ids))
        self._cache = KVCache(model.config, 1, 0)
        self._step = DecodeStep(model, 0)
        self._prompt: tuple[int, ...] = ()
        self._scores = torch.empty(0)

    @property
    def cache_bytes(self) -> int:
        """Memory of the cache, as large as the longest text so far asked for."""
        return self._cache.nbytes

    @torch.inference_mode()
    def run(self, request: Request) -> Iterator[Drawn]:
        """The tokens of one text as they are drawn; the last one says why it is the last.

        Raises:
            UsageError, DataError: see `Request.check`; also scores that are not numbers.
        """
        config, sampling = self._model.config, request.sampling
        request.check(config)
        room = request.room(config)
        stop_ids = frozenset() if sampling.ignore_eos else self._stop_ids | request.stop_ids
        sampler = Sampler(sampling, request.prompt, config.vocab_size)
        self._reserve(len(request.prompt) + room - 1)  # the last token drawn is not read
        scores = self._read(request.prompt)
        for left in reversed(range(room)):
            token = sampler.draw(scores)
            finish: FinishReason | None = "stop" if token in stop_ids else None if left else "length"
            if sampling.logprobs is None:
                yield Drawn(token, finish)
            else:
                yield Drawn(token, finish, *_score(scores, token, sampling.logprobs))
            if finish is not None:
                return
            scores = _on_cpu(self._step(token, self._cache))

    def _reserve(self, positions: int) -> None:
        """Make sure that the cache has so many positions."""
        if self._cache.capacity >= positions:
            return
        weight = self._model.model.embed_tokens.weight
        with torch.inference_mode(False):  # tables of positions made here may serve training too
            self._step = DecodeStep(self._model, positions)
        self._cache = KVCache(self._model.config, 1, positions, weight.dtype, weight.device)
        self._prompt = ()

    def _read(self, prompt: tuple[int, ...]) -> Tensor:
        """The scores (V,) of what follows the prompt, which is all that the cache then holds."""
        if prompt == self._prompt:
            self._cache.rewind(len(prompt))
            return self._scores
        self._prompt = ()  # nothing, should this be interrupted
        self._cache.rewind(0)
        ids = torch.tensor([prompt], device=self._model.model.embed_tokens.weight.device)
        for part in torch.split(ids, PREFILL_TOKENS, dim=1):
            hidden = self._model.hidden(part, cache=self._cache)
        self._scores = _on_cpu(self._model.lm_head(hidden[0, -1]))
        self._prompt = prompt
        return self._scores


def _on_cpu(scores: Tensor) -> Tensor:
    """Scores where and as they are drawn from."""
    return scores.float().cpu()


def _score(scores: Tensor, token: int, count: int) -> tuple[Scored, tuple[Scored, ...]]:
    """The log probability of a token, and the `count` best."""
    logprobs = scores.log_softmax(0)
    best = logprobs.topk(min(count, len(logprobs)))
    top = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return Scored(token, float(logprobs[token])), tuple(Scored(*one) for one in top)
