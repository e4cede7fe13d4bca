"""A text through a model again and again, each time with one thing changed: what does it move?

Layers before the change are not run again, and one layer's weights are in float32 at a time, so that a model
may lie in a file in 16 bits.

Shapes: N rows of text, T positions, D hidden, V vocabulary, M scored positions.
"""

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.block import Block
from llmkit.model.layout import Layout
from llmkit.model.transformer import Transformer
from llmkit.quant.divergence import Divergence, scored_positions
from llmkit.quant.moments import InputsOfPass, Moments, add_inputs
from llmkit.quant.workers import ALONE, Workers

Result = TypeVar("Result")
_TOKENS = 1024
"""Of a pass at most."""
_LOGITS = 1 << 24
"""At a time: 64 MiB."""
_KEPT_LOGITS = 1 << 26
"""Of the original model: more are worked out anew each time."""


class Trials:
    """The original model over a text, and what becomes of it when something is changed."""

    def __init__(self, model: Transformer, ids: Tensor, *, workers: Workers = ALONE) -> None:
        """
        Args:
            model: in evaluation mode; it is left as it is.
            ids: (N, T) int64, rows of one length; their `scored_positions` count.
            workers: share out the rows.

        Raises:
            DataError: see `scored_positions`.
        """
        self.model = model
        self._workers = workers
        self.ids = ids
        self._scored = scored_positions(ids.shape[1])
        self._next = ids[:, 1:][:, self._scored].flatten()  # (M,)
        self._step = max(1, _TOKENS // ids.shape[1])
        self._norm = copy.deepcopy(model.model.norm).float()
        self.head_weight = model.lm_head.weight.detach().float()  # (V, D)
        bias = model.lm_head.bias
        self._bias = None if bias is None else bias.detach().float()
        begin = time.perf_counter()
        states = self.rest(0, self.embedded())
        middle = time.perf_counter()
        self.hidden = self._read_by_head(states)  # (M, D), of the original
        self._logits: list[Tensor] | None = None
        if len(self.hidden) * len(self.head_weight) <= _KEPT_LOGITS:
            self._logits = list(self._pieces_of_logits(self.hidden, self.head_weight))
        self.divergence(states)
        self.layer_seconds = (middle - begin) / max(1, self.num_layers)
        """What one layer took; a guide to what trials will."""
        self.head_seconds = time.perf_counter() - middle

    @property
    def num_layers(self) -> int:
        """Of the model."""
        return len(self.model.model.layers)

    @property
    def positions(self) -> int:
        """M."""
        return len(self._next)

    @torch.no_grad()
    def embedded(self, weight: Tensor | None = None, ids: Tensor | None = None) -> Tensor:
        """What the first layer reads, (N, T, D).

        Args:
            weight: (V, D) embeddings in place of the model's.
            ids: (N', T') another text.
        """
        ids = self.ids if ids is None else ids
        decoder, count = self.model.model, ids.shape[1]
        weight = decoder.embed_tokens.weight.detach().float() if weight is None else weight
        with _in_place_of(decoder, "embed_tokens", nn.Embedding.from_pretrained(weight)):
            return decoder.embed(ids, torch.arange(count), count).clone()

    def block(self, layer: int) -> Block:
        """A layer of the original in float32, the caller's own."""
        block = copy.deepcopy(self.model.model.layers[layer]).float()
        assert isinstance(block, Block)
        return block

    @torch.no_grad()
    def passes(self, layer: int, states: Tensor, run: Callable[[Tensor, Layout], Result]) -> list[Result]:
        """What a function gives for some rows at a time of the states before a layer, (n, T, D)."""
        layout = self.model.model.layout_of(layer, states.shape[1])
        parts = states.split(max(1, _TOKENS // states.shape[1]))
        return self._workers.map(lambda part: run(part, layout), parts)

    def through(self, layer: int, states: Tensor, block: nn.Module | None = None) -> Tensor:
        """States behind a layer, (N, T, D) like those before it; `block`: in its place."""
        block = self.in_float32(layer) if block is None else block
        with torch.inference_mode():
            return torch.cat(self.passes(layer, states, block))

    def watched(
        self, layer: int, states: Tensor, block: nn.Module, weights: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Moments]]:
        """States behind a layer, and the moments of the inputs of some of its matrices, by name."""

        def run(part: Tensor, layout: Layout) -> tuple[Tensor, InputsOfPass]:
            with InputsOfPass(weights) as watch:
                return block(part, layout), watch

        found: dict[str, Moments] = {}
        done = self.passes(layer, states, run)
        with torch.inference_mode():
            add_inputs(found, [watch for _, watch in done], self._workers)
            return torch.cat([part for part, _ in done]), found

    def rest(self, layer: int, states: Tensor) -> Tensor:
        """States behind the last layer, from those before some layer."""
        for number in range(layer, self.num_layers):
            states = self.through(number, states)
        return states

    @torch.no_grad()
    def divergence(self, states: Tensor, head_weight: Tensor | None = None) -> Divergence:
        """How far the model has moved.

        Args:
            states: (N, T, D) behind the last layer.
            head_weight: (V, D) in place of the model's.

        Raises:
            DataError: a logit is not finite.
        """
        found = Divergence()
        weight = self.head_weight if head_weight is None else head_weight
        pieces = self._logits or self._pieces_of_logits(self.hidden, self.head_weight)
        changed = self._pieces_of_logits(self._read_by_head(states), weight)
        for base, logits, ids in zip(pieces, changed, self._next.split(self._rows), strict=True):
            found.add(base, logits, ids)
        return found

    def in_float32(self, layer: int) -> nn.Module:
        """A layer to run: the model's own where it is in float32 already."""
        own = self.model.model.layers[layer]
        is_float32 = all(parameter.dtype == torch.float32 for parameter in own.parameters())
        return own if is_float32 else self.block(layer)

    @torch.no_grad()
    def _read_by_head(self, states: Tensor) -> Tensor:
        """(M, D)."""
        return self._norm(states[:, self._scored]).flatten(0, 1)

    @property
    def _rows(self) -> int:
        """Positions whose logits are there at a time."""
        return max(1, _LOGITS // len(self.head_weight))

    @torch.no_grad()
    def _pieces_of_logits(self, hidden: Tensor, weight: Tensor) -> Iterator[Tensor]:
        head = _Head(weight, self._bias)
        for part in hidden.split(self._rows):
            with _in_place_of(self.model, "lm_head", head):
                logits = self.model.logits(part)
            yield logits


class _Head(nn.Module):
    """A head of any matrix."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self._parts = weight, bias

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., D). Returns (..., V)."""
        return F.linear(x, *self._parts)


@contextmanager
def _in_place_of(owner: nn.Module, name: str, module: nn.Module) -> Iterator[None]:
    """Another module under a name, for a while."""
    kept = getattr(owner, name)
    setattr(owner, name, module)
    try:
        yield
    finally:
        setattr(owner, name, kept)
