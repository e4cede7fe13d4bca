"""What a run does at a spike with --on-spike rewind: go back to a checkpoint, and past the batches since.

The checkpoint is the last one that was due by its step. One that a stop left is passed over, so that a run
that was stopped and resumed comes to the same weights as one that was not. How many rows were passed over
and how often is part of each later checkpoint's state; a run that is killed before there is one sees the
same spike again, and does the same.
"""

import torch

from llmkit.errors import DataError
from llmkit.formats.checkpoint import damage, read_state, step_of
from llmkit.train.config import MAX_REWINDS
from llmkit.train.guard import BadUpdateError, Spike
from llmkit.train.rewind import put_at_start, put_weights
from llmkit.train.state import load_weights, restore_trainer
from llmkit.train.trainer import Trainer
from llmkit.workflows.pretrain.job import Job
from llmkit.workflows.pretrain.model import build_model
from llmkit.workflows.run.again import AGAIN
from llmkit.workflows.run.saver import Saver


class Rewinder:
    """Takes a run back.

    Args:
        job: what it trains.
        trainer: at the step before a spike.
        saver: knows the checkpoints.
    """

    def __init__(self, job: Job, trainer: Trainer, saver: Saver) -> None:
        self._job = job
        self._trainer = trainer
        self._saver = saver

    def __call__(self, spike: Spike) -> None:
        """Go back from a spike.

        Raises:
            BadUpdateError: that was done as often as it may be.
            DataError: the checkpoint is damaged.
        """
        trainer, recipe, most = self._trainer, self._trainer.recipe, self._job.config.max_rewinds
        most = MAX_REWINDS if most is None else most
        if trainer.rewinds >= most:
            raise BadUpdateError(
                "spike",
                f"step {spike.step}: the loss or its gradient is a spike (found loss {spike.loss:.4g}, "
                f"gradient norm {spike.grad_norm:.4g}), after {most} that the run went back from",
                hint=f"go on with --max-rewinds {2 * most or 1} or --on-spike skip, or start again with --lr "
                f"{recipe.lr / 2:.3g}",
            )
        self._saver.wait()
        ranks, rewinds = trainer.ranks, trainer.rewinds + 1
        folder = ranks.told(self._saver.anchor if ranks.is_first else None)  # it removes later ones, below
        target = 0 if folder is None else step_of(folder)
        passed = trainer.passed_rows + recipe.rows_before(spike.step) - recipe.rows_before(target)
        if folder is None:
            torch.manual_seed(recipe.seed)
            put_at_start(trainer, build_model(self._job.source, recipe.seed, trainer.device))
        else:
            if (what := damage(folder)) is not None:
                raise DataError(f"{folder}: {what}", hint=f"{AGAIN} from an older one")
            put_weights(trainer, load_weights(folder, trainer.device))
            restore_trainer(trainer, folder, read_state(folder))
        trainer.passed_rows, trainer.rewinds = passed, rewinds
        undone = self._saver.go_back(target)
        self._saver.log.rewound(target, spike, passed_rows=passed, rewinds=rewinds, undone=undone)
