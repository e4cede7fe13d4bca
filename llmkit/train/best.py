"""The best evaluation of a run's own so far, and whether the run has come no further for too long."""

import math


class Best:
    """Remembers the lowest validation loss of a trained model.

    What the model had before the first update is `base`, and never the best: no checkpoint has it.
    Nothing of it is kept in checkpoints: the evaluations that the metrics hold are judged again, in order.

    Args:
        patience: evaluations without a lower loss after which a run is over; None: it never is.
    """

    def __init__(self, patience: int | None = None) -> None:
        self._patience = patience
        self.base: float | None = None
        """The loss of step 0."""
        self.loss = math.inf
        self.step: int | None = None
        """Of the lowest loss; None before the first evaluation after an update."""
        self.stale = 0
        """Evaluations since."""

    def judge(self, step: int, loss: float | None) -> bool:
        """Whether the evaluation of a step is the best; a loss that is not finite never is."""
        if step == 0:
            self.base = loss
            return False
        if loss is not None and loss < self.loss:
            self.loss, self.step, self.stale = loss, step, 0
            return True
        self.stale += 1
        return False

    @property
    def is_over(self) -> bool:
        """Whether the run is to end here."""
        return self._patience is not None and self.stale >= self._patience
