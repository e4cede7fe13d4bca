"""What a run does between updates: score held-out rows, write samples, save checkpoints."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from llmkit.estimate.architecture_of import architecture_of
from llmkit.formats.checkpoint import checkpoint_path, prune, publish, write_checkpoint
from llmkit.formats.metrics import MetricsWriter
from llmkit.train.best import Best
from llmkit.train.evaluate import Evaluation, evaluate
from llmkit.train.loop import Duties
from llmkit.train.metrics import RunLog
from llmkit.train.objective import NextToken
from llmkit.train.state import checkpoint_bytes, save_trainer
from llmkit.train.trainer import Trainer
from llmkit.workflows.pretrain_data import bytes_of_tokens
from llmkit.workflows.pretrain_job import Job
from llmkit.workflows.run_folder import carry, restore_aside
from llmkit.workflows.run_sample import sample

_QUICK_BYTES = 64 << 20  # a checkpoint of this size is written well within half a second


class Saver:
    """Writes checkpoints, brings the run folder up to date and removes old ones.

    Args:
        job: whose folder it is.
        trainer: what to save.
        log: told of each checkpoint.
        writers: metrics files, which have to be on the disk before the checkpoint that resumes from them.
        threads: recorded, so that a resumed run sums in the same order.
        last_step: the newest checkpoint's.
        best: the run folder has the model of its step, which is kept; None: that of the newest checkpoint.
    """

    def __init__(
        self,
        job: Job,
        trainer: Trainer,
        log: RunLog,
        writers: Sequence[MetricsWriter],
        *,
        threads: int,
        last_step: int,
        best: Best | None = None,
    ) -> None:
        self.last_step = last_step
        self.best = best
        self._product = job.product
        self._out = job.files.out
        self._keep = job.config.keep
        self._trainer = trainer
        self._log = log
        self._writers = writers
        self._threads = threads
        trained = sum(one.numel() for one in trainer.model.parameters() if one.requires_grad)
        parameters, adapter = architecture_of(job.source.config).parameters, job.product.adapter is not None
        self._is_quick = checkpoint_bytes(parameters, trained, adapter=adapter) < _QUICK_BYTES

    def is_quick(self) -> bool:
        """Whether a checkpoint takes less than half a second."""
        return self._is_quick

    def __call__(self) -> None:
        """Save the present step, unless it is saved already."""
        step = self._trainer.step
        if step == self.last_step:
            return
        for writer in self._writers:
            writer.sync()
        begin = time.monotonic()
        folder = write_checkpoint(self._out, step, self._fill)
        self.last_step = step
        self.publish()
        restore_aside(self._out)
        prune(self._out, self._keep, () if self.published is None else (self.published,))
        seconds = round(time.monotonic() - begin, 3)
        self._log.event("checkpoint", step, path=inside(folder, self._out), write_seconds=seconds)

    @property
    def published(self) -> Path | None:
        """The checkpoint whose model the run folder has; None before the first."""
        steps = [self.last_step] if self.best is None else [self.best.step, self.last_step]
        folders = [checkpoint_path(self._out, step) for step in steps if step]
        return next((folder for folder in folders if folder.is_dir()), None)

    def publish(self) -> None:
        """Bring the run folder up to date."""
        if self.published is not None:
            publish(self.published, self._out, self._product.files)

    def _fill(self, folder: Path) -> None:
        save_trainer(self._trainer, folder, threads=self._threads, product=self._product)
        carry(self._out, folder)


def build_duties(job: Job, trainer: Trainer, saver: Saver) -> Duties:
    """Everything that is due in a run, and how often."""
    return Duties(
        eval_every=job.setup.eval_every,
        evaluate=_evaluator(job, trainer) if job.valid is not None else None,
        sample_every=job.config.sample_every,
        sample=_sampler(job, trainer) if job.config.sample_every else None,
        checkpoint_every=job.setup.checkpoint_every,
        save=saver,
        best=saver.best,
        can_save_at_once=saver.is_quick,
    )


def inside(path: Path, folder: Path) -> str:
    """A path as seen from a folder that holds it."""
    return path.relative_to(folder).as_posix()


def _evaluator(job: Job, trainer: Trainer) -> Callable[[Callable[[], None]], Evaluation]:
    assert job.valid is not None
    rows = job.valid.rows
    token_bytes = None
    if isinstance(trainer.objective, NextToken):  # else the loss is not that of a text
        token_bytes = bytes_of_tokens(job.tokenizer, job.valid, job.source.config.vocab_size)

    def score(between: Callable[[], None]) -> Evaluation:
        return evaluate(
            trainer.model,
            rows,
            batch_rows=job.setup.eval_batch_rows,
            document_mask=job.config.document_mask,
            autocast=trainer.autocast,
            limit=job.config.eval_rows,
            token_bytes=token_bytes,
            between=between,
            objective=trainer.objective,
        )

    return score


def _sampler(job: Job, trainer: Trainer) -> Callable[[int], list[tuple[str, str]]]:
    assert job.tokenizer is not None
    tokenizer, config = job.tokenizer, job.config

    def write(step: int) -> list[tuple[str, str]]:
        return [
            (
                prompt,
                sample(
                    trainer.model,
                    tokenizer,
                    prompt,
                    tokens=config.sample_tokens,
                    temperature=config.sample_temperature,
                    seed=config.seed + step,
                ),
            )
            for prompt in job.files.prompts
        ]

    return write
