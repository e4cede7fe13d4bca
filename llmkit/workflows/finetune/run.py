"""A fine-tuning run at work: its trainer, what falls due, and what is looked at when it is over."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from llmkit.formats.checkpoint import step_of
from llmkit.model.transformer import Transformer
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.arithmetic import arithmetic
from llmkit.train.divergence import kl_to_base
from llmkit.train.evaluate import Evaluation
from llmkit.train.finetune_config import TEMPERATURE
from llmkit.train.loop import Duties
from llmkit.train.loss import Batch
from llmkit.train.objective import Reference
from llmkit.train.parallel.divided import divide_model
from llmkit.train.parallel.ranks import ALONE, Ranks
from llmkit.train.rewind import let_go, put_weights
from llmkit.train.rollout import RolloutSource, Score
from llmkit.train.state import load_trained, restore_trainer
from llmkit.train.target_scores import written_logps
from llmkit.train.trainer import Trainer
from llmkit.workflows.finetune.job import FinetuneJob
from llmkit.workflows.finetune.model import build_finetuned, build_reference, load_frozen
from llmkit.workflows.finetune.objective import build_objective
from llmkit.workflows.finetune.rollout import Writer, evaluate_rewards
from llmkit.workflows.run.duties import build_duties
from llmkit.workflows.run.folder import Start
from llmkit.workflows.run.saver import Saver
from llmkit.workflows.run.training import Ended


class FinetuneRun:
    """What a job needs while it runs.

    Args:
        job: opened and checked.
        score: rewards answers, of grpo.
        ranks: replicas that share each batch.
    """

    def __init__(self, job: FinetuneJob, score: Score | None = None, ranks: Ranks = ALONE) -> None:
        self._job = job
        self._ranks = ranks
        self._score = score
        self._reference: Reference | None = None

    def build_trainer(self, start: Start) -> Trainer:
        """The trainer as it was at the start."""
        job, config, setup = self._job, self._job.config, self._job.setup
        model = build_finetuned(job.source, config, setup.device, start.checkpoint)
        teacher = None if job.files.teacher is None else load_frozen(job.files.teacher, setup.device)
        reference = self.reference() if config.uses_reference else None
        trainer = Trainer(
            divide_model(model, config, setup.recipe, self._ranks),
            job.data.rows,
            setup.recipe,
            micro_batch_rows=setup.micro_batch_rows,
            on_nonfinite=config.on_nonfinite,
            on_spike=config.on_spike,
            objective=build_objective(config, reference, teacher, job.longest),
            source=self._rollouts(model),
            norms_every=config.log_norms,
        )
        if start.checkpoint is not None and start.state is not None:
            restore_trainer(trainer, start.checkpoint, start.state)
        return trainer

    def build_duties(self, trainer: Trainer, saver: Saver) -> Duties:
        """What falls due between updates, and before the first."""
        job = self._job
        duties = replace(build_duties(job, trainer, saver), from_the_start=True, sample=None)
        if job.files.prompts:
            duties = replace(duties, sample=lambda step: self.samples(trainer.model, step))
        if job.valid_prompts:
            duties = replace(duties, evaluate=lambda between: self._rewards(trainer.model, between))
        return duties

    def samples(self, model: Transformer, step: int) -> list[tuple[str, str]]:
        """The prompts that are shown, and what a model writes after each."""
        job, config = self._job, self._job.config
        assert job.tokenizer is not None
        writer = Writer(model, job.tokenizer, config.sample_tokens, config.sample_temperature)
        ids = [encode_prompt(job.tokenizer, prompt) for prompt in job.files.prompts]
        answers = writer.write(ids, [config.seed + step] * len(ids))
        return [(prompt, answer.text) for prompt, answer in zip(job.files.prompts, answers, strict=True)]

    def best_model(self, ended: Ended) -> Transformer:
        """The model that the run folder has, in the place of the last one.

        Nothing is learnt any more: moments and gradients make room for the base that it is compared with.
        """
        trainer, shown = ended.trainer, ended.saver.published
        let_go(trainer)
        if shown is None or step_of(shown) == trainer.step:
            return trainer.model
        if self._job.config.lora is None:
            put_weights(trainer, load_frozen(shown, trainer.device))
        else:
            load_trained(trainer.model, shown)
        return trainer.model

    def kl_to_base(self, model: Transformer, trainer: Trainer) -> float | None:
        """How far the model has moved on the validation rows; None where there are none."""
        job = self._job
        if job.valid is None or job.valid_prompts:
            return None
        return kl_to_base(
            model,
            self.reference(),
            job.valid.rows,
            batch_rows=job.setup.eval_batch_rows,
            document_mask=job.config.document_mask,
            autocast=trainer.autocast,
            limit=job.config.eval_rows,
        )

    def reference(self) -> Reference:
        """Opens the base."""
        if self._reference is None:
            job = self._job
            self._reference = build_reference(job.source, job.config, job.setup.device)
        return self._reference

    def _rollouts(self, model: Transformer) -> RolloutSource | None:
        job, config = self._job, self._job.config
        if config.method != "grpo":
            return None
        assert self._score is not None
        return RolloutSource(
            job.prompts,
            self._writer(model).rollout,
            self._score,
            seed=config.seed,
            prompts_per_step=job.setup.recipe.batch_rows,
            group_size=config.answers_per_row,
            device=job.setup.device,
            iterations=config.updates_per_batch,
            logps=lambda batch: self._logps(model, batch),
        )

    def _logps(self, model: Transformer, batch: Batch) -> Tensor:
        """Of answers just written, in the arithmetic of the loss: it divides by their probabilities."""
        setup = self._job.setup
        with arithmetic(setup.device, setup.recipe.dtype):
            return written_logps(model, batch, setup.micro_batch_rows, temperature=self._temperature)

    @property
    def _temperature(self) -> float:
        told = self._job.config.temperature
        return TEMPERATURE if told is None else told

    def _writer(self, model: Transformer) -> Writer:
        job, config = self._job, self._job.config
        assert job.tokenizer is not None
        return Writer(model, job.tokenizer, config.resolved_completion_tokens, self._temperature)

    def _rewards(self, model: Transformer, between: Callable[[], None]) -> Evaluation:
        assert self._score is not None
        prompts, config = self._job.valid_prompts, self._job.config
        limited = prompts[: config.eval_rows] if config.eval_rows else prompts
        return evaluate_rewards(self._writer(model), limited, self._score, between, seed=config.seed)


def encode_prompt(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a prompt: a user's message where the tokenizer has a chat template, else plain text."""
    encoder = PromptEncoder(tokenizer)
    if tokenizer.chat_template is None:
        return encoder.encode(text) or [0]
    return encoder.encode_rendered(encoder.render([{"role": "user", "content": text}]))
