"""Several adapters at once, each with a scale of its own, as one.

Shapes: r rank.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from llmkit.engine.adapters.values import Adapter, Addition

Parts = Sequence[tuple[Adapter, float]]
"""Adapters, and what the change that each makes is multiplied with."""


def mixed_adapter(name: str, parts: Parts) -> Adapter:
    """The sum of what adapters change: ranks stand side by side, so nothing is rounded away.

    Args:
        name: what requests call it.
        parts: all of the same base; at least one.
    """
    places = dict.fromkeys(place for adapter, _ in parts for place in adapter.additions)
    made = {
        place: _sum([(one.additions[place], scale) for one, scale in parts if place in one.additions])
        for place in places
    }
    told = " ".join(f"{adapter.digest}*{scale!r}" for adapter, scale in parts)  # not of all numbers again
    return Adapter(name, made, hashlib.blake2b(told.encode(), digest_size=16).hexdigest())


def _sum(parts: Sequence[tuple[Addition, float]]) -> Addition:
    a = parts[0][0].a if len(parts) == 1 else torch.cat([one.a for one, _ in parts])
    b = torch.cat([one.b * scale for one, scale in parts])
    changes = [(one.factors - 1) * scale for one, scale in parts if one.factors is not None]
    factors: Tensor | None = 1 + torch.stack(changes).sum(0) if changes else None
    return Addition(a, b, factors)
