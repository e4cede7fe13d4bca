"""Texts on their way through a model, layer by layer, so that one layer's weights are at work at a time.

Shapes: N rows of text, T positions, D hidden, V vocabulary.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import repeat
from typing import TypeVar

import torch
from torch import Tensor, nn

from llmkit.model.layer_sizes import check_alone
from llmkit.model.mapped import FileMappings
from llmkit.model.transformer import Transformer
from llmkit.quant.moments import InputsOfPass, Moments, add_inputs
from llmkit.quant.workers import ALONE, Workers

Module = TypeVar("Module", bound=nn.Module)
_TOKENS = 1024
"""Of a pass: enough to fill a thread, few enough that what a pass needs for itself stays small."""
_AT_ONCE = 8
"""Passes whose inputs are in memory together."""


class Stream:
    """Hidden states of rows of text, before some layer of a model."""

    def __init__(self, model: Transformer, ids: Tensor, workers: Workers = ALONE) -> None:
        """
        Args:
            model: in evaluation mode, float32.
            ids: (N, T) int64, rows of one length.
            workers: share out the rows.

        Raises:
            ConfigError: its layers read more than what the one before leaves.
        """
        check_alone(model.config)
        self._workers = workers
        self.ids = ids
        self._model = model
        count = ids.shape[1]
        self._step = max(1, _TOKENS // count)
        positions = torch.arange(count)
        with torch.inference_mode():
            self._states = torch.cat(
                [model.model.embed(part, positions, count) for part in ids.split(self._step)]
            )  # (N, T, D)
        self._states = self._states.clone()

    @torch.inference_mode()
    def moments(
        self,
        layer: int,
        weights: Mapping[str, Tensor],
        *,
        original: "Stream | None" = None,
        squares_only: bool = False,
    ) -> dict[str, Moments]:
        """Of the inputs of some matrices of a layer; the states stay before it.

        Args:
            layer: its number.
            weights: the matrices by name, as the layer holds them.
            original: the same text in the original model, which has this layer too.
            squares_only: the diagonals of the second moments, which are soon worked out.
        """
        found: dict[str, Moments] = {}

        def watched(part: Tensor) -> InputsOfPass:
            with InputsOfPass(weights) as watch:
                self._through(layer, part)
            return watch

        parts = self._states.split(self._step)
        others = () if original is None else original._states.split(self._step)
        for begin in range(0, len(parts), _AT_ONCE):
            seen, before = (
                self._workers.map(watched, of[begin : begin + _AT_ONCE]) for of in (parts, others)
            )
            add_inputs(found, seen, self._workers, originals=before, squares_only=squares_only)
        return found

    @torch.inference_mode()
    def advance(self, layer: int) -> None:
        """Go through a layer."""
        self._workers.map(lambda part: part.copy_(self._through(layer, part)), self._states.split(self._step))

    @torch.inference_mode()
    def last(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Behind the last layer: ids (n, T), and what the head reads, (n, T, D), after the last norm."""
        for ids, part in zip(self.ids.split(self._step), self._states.split(self._step), strict=True):
            yield ids, self._model.model.norm(part)

    @torch.inference_mode()
    def head_moments(self, *, original: "Stream | None" = None, squares_only: bool = False) -> Moments:
        """Of what the head reads, behind the last layer; `original`: see `moments`."""
        moments = Moments.of_width(self._states.shape[-1], squares_only=squares_only)
        others = repeat(None) if original is None else (states.flatten(0, 1) for _, states in original.last())
        for (_, states), other in zip(self.last(), others, strict=False):
            moments.add(states.flatten(0, 1), self._workers, other)
        return moments

    def _through(self, layer: int, states: Tensor) -> Tensor:
        decoder = self._model.model
        out: Tensor = decoder.layers[layer](states, decoder.layout_of(layer, states.shape[1]))
        return out


def with_float32_ends(model: Transformer) -> None:
    """Give a model an embedding and a last norm of its own in float32: what streams begin and end with."""
    decoder = model.model
    decoder.embed_tokens = float32_copy(decoder.embed_tokens)
    decoder.norm = float32_copy(decoder.norm)


def float32_copy(module: Module) -> Module:
    """A module of its own in float32.

    Where the other's weights are mapped from a file, their pages are given back: of what was written over
    them nothing is left.
    """
    made = copy.deepcopy(module).float()
    mappings = FileMappings()
    for parameter in module.parameters():
        mappings.forget_pages(parameter.detach())
    return made


@contextmanager
def in_float32(model: Transformer, layer: int) -> Iterator[nn.Module]:
    """A copy of a layer in float32 in its place, for a while."""
    layers = model.model.layers
    kept = layers[layer]
    layers[layer] = float32_copy(kept)
    try:
        yield layers[layer]
    finally:
        layers[layer] = kept
