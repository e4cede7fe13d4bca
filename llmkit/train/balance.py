"""Experts evenly used: two losses beside the model's own, or a bias after each update; and how even they are.

Shapes: N experts of a layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.router import Router
from llmkit.model.routing import RoutingTape, balance_slope
from llmkit.train.config import Recipe
from llmkit.train.parallel.ranks import ALONE, Ranks


@dataclass(frozen=True)
class ExpertUse:
    """How evenly the experts were used in one update."""

    balance_loss: float
    """Unweighted: k experts a token where they are used alike; the mean over the passes."""
    counts: tuple[tuple[int, ...], ...]
    """Tokens of each expert, layer by layer."""
    z_loss: float = 0.0
    """Unweighted: the mean squared log-sum-exp of the routers' logits."""

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
        experts: of the model, which has a router in each of their layers.
        ranks: the processes that share each batch.
    """

    def __init__(self, recipe: Recipe, experts: ExpertsConfig, ranks: Ranks = ALONE) -> None:
        self._ranks = ranks
        self._routers = len(experts.layers)
        self._real = 0
        self._aux = recipe.router_aux_loss_coef or 0.0
        self._z = recipe.router_z_loss_coef or 0.0
        self._step = recipe.router_bias_update or 0.0
        self._loss = self._z_loss = 0.0
        self._counts: dict[Router, Tensor] = {}
        self._use = ExpertUse(0.0, ())

    def begin(self, real: int) -> None:
        """Another batch, of so many tokens that are no padding."""
        self._real = real
        self._loss = self._z_loss = 0.0
        self._counts = {}

    def add(self, tape: RoutingTape) -> Tensor:
        """What a part of the batch adds to the loss.

        Where rows are cut, every process of them has to call this, and adds what its positions make of it.
        """
        probability, squares = tape.sums()
        totals = self._ranks.over_rows(tape.totals())
        loss, of_probability, of_squares = self.judged(totals, probability.detach())
        self.note(loss, self.z_loss(squares.detach()), tape.expert_counts())
        return (of_probability * probability).sum() + of_squares * squares

    def judged(self, totals: Tensor, probability: Tensor) -> tuple[float, Tensor, float]:
        """What a tape adds to the losses of its part.

        Args:
            totals: of the tapes of all layers and positions of the part: see `RoutingTape.totals`.
            probability: (N,) of this one: see `RoutingTape.sums`.

        Returns:
            The balance loss, unweighted, and what the weighed losses change by with the tape's sums: (N,) for
            probabilities, and one for squares.
        """
        # no number is made of a count: where stages are tried on memory that nobody wrote, it may be none
        slope = balance_slope(totals) * totals[-1].float() * self._each
        return float((slope * probability).sum()), self._aux * slope, self._z * self._each

    def z_loss(self, squares: Tensor) -> float:
        """What a tape adds to the z-loss of its part, unweighted. squares: see `RoutingTape.sums`."""
        return float(squares) * self._each

    @property
    def _each(self) -> float:
        """The weight of one token at one router in a mean over all of the batch."""
        return 1 / self._routers / max(1, self._real)

    def note(self, loss: float, z_loss: float, counts: Mapping[Router, Tensor]) -> None:
        """What a part made of both losses, and how many tokens chose each expert: (N,) by router."""
        self._loss += loss
        self._z_loss += z_loss
        for router, chosen in counts.items():
            self._counts[router] = self._counts[router] + chosen if router in self._counts else chosen

    def settle(self) -> None:
        """The batch is over: what every process saw of it is added up."""
        flat = [float(count) for counts in self._counts.values() for count in counts.tolist()]
        loss, z_loss, *flat = self._ranks.sum([self._loss, self._z_loss, *flat], of_stream=True)
        for counts in self._counts.values():
            own, flat = flat[: len(counts)], flat[len(counts) :]
            counts.copy_(torch.tensor(own))
        own_use = (loss, z_loss, [tuple(one.tolist()) for one in self._counts.values()])
        losses, z_losses, layers = zip(*self._ranks.of_stages(own_use), strict=True)
        self._use = ExpertUse(sum(losses), tuple(layer for stage in layers for layer in stage), sum(z_losses))

    def use(self) -> ExpertUse:
        """Of the batch that is over."""
        return self._use

    @torch.no_grad()
    def update_bias(self) -> None:
        """Make experts below their share easier to choose and others harder (2408.15664, algorithm 1).

        A router whose weight is frozen stays as it is: nobody would save its bias.
        """
        for router, counts in self._counts.items():
            frozen = not router.weight.requires_grad
            if self._step and not frozen and router.e_score_correction_bias is not None:
                load = counts.float()
                router.e_score_correction_bias += self._step * (load.mean() - load).sign()
