"""Losses of routers over the stages of a pipeline, each of which has the routers of its own layers.

What a stage adds to these losses is linear in sums over its tokens, and the slopes follow from how often the
routers of all stages chose each expert (`Balancer.judged`). That count goes along with the stream: forwards
each stage adds its own to it, and the last stage tells the sum backwards, in the place of a gradient.

Shapes: N experts.
"""

from typing import Any

import torch
from torch import Tensor

from llmkit.model.router import Router
from llmkit.model.routing import RoutingTape
from llmkit.train.balance import Balancer
from llmkit.train.parallel.ranks import Ranks
from llmkit.train.parallel.row_cut import part_of_stream


class StageRouting:
    """The routers of a stage, in the parts of one batch.

    Args:
        balancer: of this process; told when the batch is over.
        num_experts: of a layer.
        ranks: the processes.
    """

    def __init__(self, balancer: Balancer, num_experts: int, ranks: Ranks) -> None:
        self.balancer = balancer
        self._num_experts = num_experts
        self._ranks = ranks
        self._counts: list[dict[Router, Tensor]] = []
        self.losses: list[tuple[float, float]] = []
        """Balance loss and z-loss of each part, as far as the routers here make them."""

    def tape(self, real: Tensor | None) -> RoutingTape:
        """For a part of the batch. real: (B, T) bool, ids that are no padding; None: all."""
        return RoutingTape(None if real is None else part_of_stream(real, self._ranks.stream))

    def no_counts(self, x: Tensor) -> Tensor:
        """What comes into the first stage: (N + 1,) noughts, on the device of x."""
        return x.new_zeros(self._num_experts + 1, dtype=torch.float64)

    def counts(self, tape: RoutingTape, before: Tensor) -> Tensor:
        """How often each expert was chosen up to here, which hangs the losses of the routers here on itself.

        Args:
            tape: what the routers here decided about a part.
            before: (N + 1,) float64, the same of the stages before.

        Returns:
            (N + 1,) float64, as `RoutingTape.totals`. What it gets for a gradient has to be that of all
            stages: see `told_back`.
        """
        if not tape.routes:  # of layers without experts
            return before
        self._counts.append(tape.expert_counts())
        own = self._ranks.over_rows(tape.totals())
        counts: Tensor = _Counts.apply(before, own, *tape.sums(), self)  # type: ignore[no-untyped-call]
        return counts

    def settle(self, parts: int) -> None:
        """The last so many parts were learnt from; what was before them was only tried."""
        for losses, counts in zip(self.losses[-parts:], self._counts[-parts:], strict=True):
            self.balancer.note(*losses, counts)


def told_back(x: Tensor, counts: Tensor) -> Tensor:
    """What the head reads, (B, T, D); backwards, all stages get to know the counts of all of them."""
    same: Tensor = _Told.apply(x, counts)  # type: ignore[no-untyped-call]
    return same


class _Counts(torch.autograd.Function):
    """Counts of this stage and those before; backwards those of all, and what the sums here are to learn."""

    @staticmethod
    def forward(
        ctx: Any, before: Tensor, own: Tensor, probability: Tensor, squares: Tensor, routing: StageRouting
    ) -> Tensor:
        """before, own: (N + 1,); probability: (N,) and squares, without shape: see `RoutingTape.sums`."""
        ctx.routing = routing
        ctx.save_for_backward(probability, squares)
        return before + own

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """gradients: one, the counts of all stages."""
        (totals,) = gradients
        probability, squares = ctx.saved_tensors
        balancer = ctx.routing.balancer
        loss, of_probability, of_squares = balancer.judged(totals, probability)
        ctx.routing.losses.append((loss, balancer.z_loss(squares)))
        return totals, None, of_probability, probability.new_tensor(of_squares), None


class _Told(torch.autograd.Function):
    """See `told_back`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, counts: Tensor) -> Tensor:
        ctx.save_for_backward(counts)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        return gradients[0], ctx.saved_tensors[0]
