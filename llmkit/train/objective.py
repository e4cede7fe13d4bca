"""What a run learns from its batches: a loss as a sum over units, and figures about it as sums too.

Sums, so that the parts of a batch (and, later, the ranks of a run) add up to the batch.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from llmkit.model.routing import RoutingTape
from llmkit.model.transformer import LogitParts, Transformer
from llmkit.train.loss import Batch, loss_sum, nats_sum
from llmkit.train.target_scores import only_scoring, target_nats

Reference = Callable[[Transformer], AbstractContextManager[Transformer]]
"""From the model in training to the one that it is compared with, ready to score without gradients."""


class BatchSource:
    """Where the batches of a run come from. Subclasses make them; this one has nothing to tell or to keep."""

    passed_rows = 0
    """Rows that its order has and that it passes over."""

    def batch(self, step: int) -> Batch:
        """The batch of update `step`, the first being 0."""
        raise NotImplementedError

    def stats(self) -> dict[str, float]:
        """Figures about the last batch, for the metrics."""
        return {}

    def state_tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of it; empty where a batch is made of its number alone."""
        return {}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `state_tensors` gave."""

    def close(self) -> None:
        """Let go of threads and programs."""


class Objective:
    """A loss. Subclasses say what a unit is, and sum the loss over the units of a part."""

    def units(self, batch: Batch) -> int:
        """What the loss of a batch is divided by; the units of its parts add up to it."""
        raise NotImplementedError

    def for_batch(self, model: Transformer, batch: Batch, micro_batch_rows: int) -> "Objective":
        """The objective for one batch: here, what needs the whole of it is worked out before it is parted.

        Args:
            model: before the update.
            batch: all of it.
            micro_batch_rows: rows of one forward pass.
        """
        del model, batch, micro_batch_rows
        return self

    def loss_sum(
        self, model: Transformer, part: Batch, tape: RoutingTape | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss summed over the units of a part, and figures summed likewise.

        Args:
            model: in training.
            part: of the batch that `for_batch` saw.
            tape: told which experts were chosen, in the passes that are learnt from.
        """
        raise NotImplementedError

    def report(self, sums: dict[str, float], units: int) -> dict[str, float]:
        """What the figures of all parts, added up, say of the batch: a mean over its units each."""
        return {name: total / max(1, units) for name, total in sums.items()}


@dataclass(frozen=True)
class NextToken(Objective):
    """Cross-entropy of the targets that carry loss: pretraining, and supervised fine-tuning with a mask."""

    chunked: bool = True
    """Score only the targets that carry loss, and never hold all logits. False: one plain pass, which
    torch.compile sees whole."""

    def units(self, batch: Batch) -> int:
        return batch.count

    told: ClassVar[tuple[str, ...]] = ()
    """The figures that it gives where gradients are wanted."""

    def loss_sum(
        self, model: Transformer, part: Batch, tape: RoutingTape | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        return (target_nats if self.chunked else loss_sum)(model, part, tape), {}

    def of_logits(
        self, logits: Tensor, targets: Tensor, parts: LogitParts | None
    ) -> tuple[Tensor, dict[str, float]]:
        """What `loss_sum` gives of a model's logits: for who has these already.

        Args:
            logits: (B, T, V), of all ids or of some.
            targets: (B, T).
            parts: where the others are.
        """
        return nats_sum(logits, targets, parts), {}


def frozen_reference(reference: Transformer) -> Reference:
    """A model of its own as the reference: the weights before training, where all of them are trained."""
    reference.requires_grad_(False)

    @contextmanager
    def open_reference(model: Transformer) -> Iterator[Transformer]:
        del model
        with only_scoring(reference):
            yield reference

    return open_reference


def adapter_reference() -> Reference:
    """The model in training without its adapters: no second copy of the weights."""
    from llmkit.model.adapters.lora import without_adapters

    @contextmanager
    def open_reference(model: Transformer) -> Iterator[Transformer]:
        with only_scoring(model), without_adapters(model):
            yield model

    return open_reference
