"""The forward pass of a part of a batch up to its loss, as one module: what shards stand around."""

from torch import Tensor, nn

from llmkit.model.routing import RoutingTape
from llmkit.model.transformer import Transformer
from llmkit.train.loss import Batch
from llmkit.train.objective import Objective


class LossPass(nn.Module):
    """A model and its objective. Weights that are kept in parts are whole while one of these runs.

    Args:
        model: in training.
    """

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, objective: Objective, part: Batch, tape: RoutingTape | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """See `Objective.loss_sum`."""
        return objective.loss_sum(self.model, part, tape)
