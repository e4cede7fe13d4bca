"""Experts evenly used: two losses beside the model's own, or a bias after each update; and how even they are.

Shapes: N experts of a layer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.model.router import Router
from llmkit.model.routing import RoutingTape
from llmkit.train.config import Recipe
from llmkit.train.parallel.ranks import ALONE, Ranks


@dataclass(frozen=True)
class ExpertUse:
    """How evenly the experts were used in one update."""

    balance_loss: float
    """Unweighted: k experts a token where they are used alike; the mean over the passes."""
    counts: tuple[tuple[int, ...], ...]
    """Tokens of each expert, layer by layer."""

    @property
    def loads(self) -> list[list[float]]:
        """Each expert's tokens over the mean of its layer."""
        return [[count * len(layer) / max(1, sum(layer)) for count in layer] for layer in self.counts]

    @property
    def max_load(self) -> float:
        """The load of the expert that is used most, of all layers; 1 where all are used alike."""
        return max((load for layer in self.loads for load in layer), default=1.0)


class Balancer:
    """Collects how a batch was routed, part by part, and acts on it.

    The balance loss is that of each part, weighed with its share of the batch: it is no sum over tokens, so
    that it depends a little on how a batch is parted. The z-loss is one and does not.

    Args:
        recipe: with the coefficients.
        ranks: the processes that share each batch.
    """

    def __init__(self, recipe: Recipe, ranks: Ranks = ALONE) -> None:
        self._ranks = ranks
        self._real = 0
        self._aux = recipe.router_aux_loss_coef or 0.0
        self._z = recipe.router_z_loss_coef or 0.0
        self._step = recipe.router_bias_update or 0.0
        self._loss = 0.0
        self._counts: dict[Router, Tensor] = {}

    def begin(self, real: int) -> None:
        """Another batch, of so many tokens that are no padding."""
        self._real = real
        self._loss = 0.0
        self._counts = {}

    def add(self, tape: RoutingTape) -> Tensor | float:
        """What a part of the batch adds to the loss; 0 where it is nothing but padding.

        Where rows are cut, every process of them has to call this, and adds what its positions make of it.
        """
        totals = tape.totals()
        is_padding = not totals[-1]
        totals = self._ranks.over_rows(totals)
        for router, counts in tape.expert_counts().items():
            self._counts[router] = self._counts[router] + counts if router in self._counts else counts
        if is_padding:
            return 0.0
        share = int(totals[-1]) / len(tape.routes) / self._real  # of the tokens that a router met
        balance = tape.balance_loss(totals) * share
        self._loss += balance.item()
        loss = self._aux * balance
        return loss + self._z * share * tape.z_loss(totals) if self._z else loss

    def settle(self) -> None:
        """The batch is over: what every process saw of it is added up."""
        flat = [float(count) for counts in self._counts.values() for count in counts.tolist()]
        self._loss, *flat = self._ranks.sum([self._loss, *flat], of_stream=True)
        for counts in self._counts.values():
            own, flat = flat[: len(counts)], flat[len(counts) :]
            counts.copy_(torch.tensor(own))

    def use(self) -> ExpertUse:
        """Of the batch that is over."""
        counts = tuple(tuple(one.tolist()) for one in self._counts.values())
        return ExpertUse(self._loss, counts)

    @torch.no_grad()
    def update_bias(self) -> None:
        """Make experts below their share easier to choose and others harder (2408.15664, algorithm 1)."""
        for router, counts in self._counts.items():
            if self._step and router.e_score_correction_bias is not None:
                load = counts.float()
                router.e_score_correction_bias += self._step * (load.mean() - load).sign()
