"""Additions to the products of a model's modules: of each text in a pass by its own adapter.

Shapes: T new positions of all texts, n of those with one adapter.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from llmkit.engine.adapters.values import Adapter
from llmkit.model.adapters.addition import added
from llmkit.model.latent_attention import LatentAttention
from llmkit.model.transformer import Transformer

Rows = slice | Tensor
_KEYS_AND_VALUES = ".kv_b_proj"
"""Ends the names of what reads all that texts keep, not only their new positions, or is not called at all."""


class ModuleAdditions:
    """Stands behind the modules that adapters change; a pass without adapters goes by untouched."""

    def __init__(self, model: Transformer) -> None:
        self._model = model
        self._hooked: set[str] = set()
        self._groups: list[tuple[Adapter, Rows]] = []
        self._latent: dict[str, LatentAttention] = {}
        """Those whose keys and values are made otherwise, by the name of what makes them."""

    def add_adapter(self, adapter: Adapter) -> None:
        """Stand behind its modules too."""
        for name in adapter.additions.keys() - self._hooked - self._latent.keys():
            if name.endswith(_KEYS_AND_VALUES):
                attention = self._model.get_submodule(name.removesuffix(_KEYS_AND_VALUES))
                assert isinstance(attention, LatentAttention)
                self._latent[name] = attention
                continue
            self._model.get_submodule(name).register_forward_hook(partial(self._add, name))
            self._hooked.add(name)

    @contextmanager
    def of(self, texts: Sequence[tuple[Adapter | None, int]]) -> Iterator[None]:
        """Within it, passes are of these texts: each one's adapter, and how many of its positions are new."""
        self._groups = groups_of(texts, self._model.model.embed_tokens.weight.device) if self._hooked else []
        for name, attention in self._latent.items():
            attention.additions = [
                None if adapter is None else adapter.additions.get(name) for adapter, _ in texts
            ]
        try:
            yield
        finally:
            self._groups = []
            for attention in self._latent.values():
                attention.additions = ()

    def _add(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        """inputs: (1, T, in) first; output: (1, T, out), which nobody else has yet."""
        for adapter, rows in self._groups:
            addition = adapter.additions.get(name)
            if addition is not None:
                x, y = inputs[0][0], output[0]
                y[rows] = added(addition, x[rows], y[rows], getattr(module, "bias", None)).to(y.dtype)


def groups_of(
    texts: Sequence[tuple[Adapter | None, int]], device: torch.device
) -> list[tuple[Adapter, Rows]]:
    """The adapters of a pass, and which of all new positions are theirs: one product for all of them."""
    owned: dict[Adapter, list[int]] = {}
    first = 0
    for adapter, count in texts:
        if adapter is not None:
            owned.setdefault(adapter, []).extend(range(first, first + count))
        first += count
    return [(adapter, _rows(rows, device)) for adapter, rows in owned.items()]


def _rows(rows: list[int], device: torch.device) -> Rows:
    """A slice where they stand side by side: no copy."""
    whole = rows[-1] - rows[0] + 1 == len(rows)
    return slice(rows[0], rows[-1] + 1) if whole else torch.tensor(rows, device=device)
