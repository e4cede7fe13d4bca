"""What a run does between updates: score held-out rows, write samples, save checkpoints, go back."""

from collections.abc import Callable

from llmkit.train.evaluate import Evaluation, evaluate
from llmkit.train.loop import Duties
from llmkit.train.objective import NextToken
from llmkit.train.trainer import Trainer
from llmkit.workflows.pretrain.data import text_sizes
from llmkit.workflows.pretrain.job import Job
from llmkit.workflows.run.profile import profile_duty
from llmkit.workflows.run.rewind import Rewinder
from llmkit.workflows.run.sample import sample
from llmkit.workflows.run.saver import Saver


def build_duties(job: Job, trainer: Trainer, saver: Saver) -> Duties:
    """Everything that is due in a run, and how often."""
    return Duties(
        eval_every=job.setup.eval_every,
        evaluate=_evaluator(job, trainer) if job.valid is not None else None,
        sample_every=job.config.sample_every,
        sample=_sampler(job, trainer) if job.config.sample_every else None,
        checkpoint_every=job.setup.checkpoint_every,
        keep_every=job.config.keep_every or 0,
        save=saver,
        notice=saver.notice,
        settle=saver.wait,
        rewind=Rewinder(job, trainer, saver),
        rescue=saver.rescue,
        best=saver.best,
        watch=profile_duty(job, trainer, saver.log, saver.check_folder),
        can_save_at_once=saver.is_quick,
    )


def _evaluator(job: Job, trainer: Trainer) -> Callable[[Callable[[], None]], Evaluation]:
    assert job.valid is not None
    rows = job.valid.rows
    sizes = None
    if isinstance(trainer.objective, NextToken):  # else the loss is not that of a text
        sizes = text_sizes(job.tokenizer, job.valid, job.source.config.vocab_size)

    def score(between: Callable[[], None]) -> Evaluation:
        return evaluate(
            trainer.divided,
            rows,
            batch_rows=job.setup.eval_batch_rows,
            document_mask=job.config.document_mask,
            autocast=trainer.autocast,
            limit=job.config.eval_rows,
            sizes=sizes,
            between=between,
            objective=trainer.objective,
        )

    return score


def _sampler(job: Job, trainer: Trainer) -> Callable[[int], list[tuple[str, str]]]:
    assert job.tokenizer is not None
    tokenizer, config = job.tokenizer, job.config

    def write(step: int) -> list[tuple[str, str]]:
        model = trainer.divided.whole_model()
        if not trainer.ranks.is_first:
            return []
        return [
            (
                prompt,
                sample(
                    model,
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
