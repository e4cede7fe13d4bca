"""What the routers of a model decided, pass by pass: the losses that even it out, and the loads of experts.

Shapes: M tokens of a pass, N experts, k experts a token.
"""

import torch
from torch import Tensor

from llmkit.model.router import Router, Routes, tokens_of_each


class RoutingTape:
    """Collects what each layer's router decided, as the layers meet it.

    One tape may go through several passes; each layer's passes are then kept one after the other. It is no
    dataclass: FSDP copies these on their way into a layer, and would listen to the copies.

    Args:
        counted: (M,) or (B, T) bool: the tokens of each pass that count, padding being none; None: all.

    Attributes:
        routes: of each layer that has experts, in the order of the layers; padding's too.
    """

    def __init__(self, counted: Tensor | None = None) -> None:
        self.counted = counted
        self.routes: dict[Router, list[Routes]] = {}

    def record(self, router: Router, routes: Routes) -> None:
        """A router has decided. Padding is left out later: no shape in a compiled pass may hang on it."""
        self.routes.setdefault(router, []).append(routes)

    def totals(self) -> Tensor:
        """How often each expert was chosen in all layers and passes, and tokens in these: (N + 1,) int64.

        Raises:
            ValueError: no pass was recorded.
        """
        routes = self._all()
        N = routes[0].logits.shape[1]
        chosen = torch.stack([tokens_of_each(one.chosen, N) for one in routes]).sum(0)
        return torch.cat((chosen, chosen.new_tensor([sum(len(one.logits) for one in routes)])))

    def sums(self) -> tuple[Tensor, Tensor]:
        """What losses are made of, summed over layers, passes and tokens: differentiable.

        Returns:
            (N,) probability of each expert, a softmax whatever the scoring is, for `balance_slope`; and,
            without shape, squares of log sum exp of the logits, whose mean is the z-loss (ST-MoE,
            2202.08906, equation 5).

        Raises:
            ValueError: no pass was recorded.
        """
        logits = [one.logits for one in self._all()]
        probability = torch.stack([one.softmax(-1).sum(0) for one in logits]).sum(0)
        return probability, torch.stack([one.logsumexp(-1).square().sum() for one in logits]).sum()

    def expert_counts(self) -> dict[Router, Tensor]:
        """How many tokens chose each expert: (N,) int64 for every router, in the order of the layers."""
        return {
            router: torch.stack([tokens_of_each(one.chosen, one.logits.shape[1]) for one in passes]).sum(0)
            for router, passes in self._that_count().items()
        }

    def _that_count(self) -> dict[Router, list[Routes]]:
        """`routes`, of the tokens that count."""
        if self.counted is None:
            return self.routes
        counted = self.counted.flatten()
        return {
            router: [Routes(*(part[counted] for part in one)) for one in passes]
            for router, passes in self.routes.items()
        }

    def _all(self) -> list[Routes]:
        routes = [one for passes in self._that_count().values() for one in passes]
        if not routes:
            raise ValueError("no token was routed: give the tape to a model with experts, as `routing`")
        return routes


def balance_slope(totals: Tensor) -> Tensor:
    """What the balance loss changes by with each expert's probability: (N,), 0 where no token counts.

    The loss is N * sum over experts of f * P: k where all experts are used alike, up to N where they are not.
    f is how often an expert is chosen by a token, P its mean probability, both over all layers and passes at
    once, as transformers' load_balancing_loss_func has it (Switch Transformer, 2101.03961, equations 4 to 6;
    k = 1 and one layer there). f has no gradient, so that the loss is the slope times the sums of
    probabilities, wherever their tokens were routed.

    Args:
        totals: (N + 1,) of all tokens, wherever they were: see `RoutingTape.totals`.
    """
    chosen, total = totals[:-1].double(), totals[-1].clamp(min=1).double()
    return (len(chosen) * chosen / total.square()).float()
