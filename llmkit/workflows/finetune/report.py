"""What came of a fine-tuning run, from its metrics and from a last look at the model."""

from pathlib import Path
from typing import Any

import msgspec

from llmkit.estimate.architecture_of import architecture_of
from llmkit.formats.checkpoint import list_checkpoints, step_of
from llmkit.formats.metrics import METRICS, told_number
from llmkit.probe.evaluate.intervals import wilson
from llmkit.tokens.audit import AuditReport
from llmkit.train.hardware import used_memory_bytes
from llmkit.workflows.finetune.job import FinetuneJob
from llmkit.workflows.finetune.run import FinetuneRun
from llmkit.workflows.run.saver import inside
from llmkit.workflows.run.training import Ended, Records

FINAL = "final"
"""The event of the last look."""
_NOT_FIGURES = ("event", "time_seconds", "step", "valid_loss", "tokens", "units", "bits_per_byte")


class SampleText(msgspec.Struct, frozen=True, kw_only=True):
    """What the model wrote after a prompt."""

    prompt: str
    before: str | None
    after: str


class FinetuneReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run."""

    schema: str = "llmkit.finetune/1"
    out: str
    kind: str
    """`model`, or `adapter`: PEFT's folder."""
    method: str
    parameters: int
    """Of the model, adapters not counted."""
    trained_parameters: int
    steps: int
    """Made, of `planned_steps`: fewer where the run ended early."""
    planned_steps: int
    best_step: int
    """Whose model the folder has: that of the lowest validation loss, or the last."""
    tokens: int
    """Learnt, repeats counted."""
    loss: float | None
    """Of the last update."""
    valid_loss_base: float | None
    """Before the first update."""
    valid_loss: float | None
    """Of the model that the folder has."""
    valid: dict[str, float]
    """What else the method tells of the validation data, at the best step."""
    valid_base: dict[str, float]
    reward_accuracy_interval: tuple[float, float] | None
    """95 % (Wilson's), over the validation pairs."""
    kl_to_base: float | None
    """Mean over the answers' tokens of the validation data, in nats: how far the model has moved."""
    bits_per_byte: float | None
    samples: list[SampleText]
    audit: AuditReport
    seconds: float
    tokens_per_second: float | None
    mfu: float | None
    memory_bytes: int
    skipped_steps: int
    resumed_step: int
    """Where this call went on from; 0: it began."""
    checkpoint: str
    """The newest one, inside `out`."""


def build_report(job: FinetuneJob, run: FinetuneRun, ended: Ended) -> FinetuneReport:
    """Look at the best model once more, unless that was done, and put everything together."""
    trainer, log, shown = ended.trainer, ended.log, ended.saver.published
    best_step = trainer.step if shown is None else step_of(shown)
    if not any(one.get("event") == FINAL and one["step"] == trainer.step for one in ended.past):
        model = run.best_model(ended)
        for prompt, text in run.samples(model, best_step) if job.files.prompts else []:
            log.event("after", trainer.step, prompt=prompt, text=text)
        log.event(FINAL, trainer.step, best_step=best_step, kl_to_base=run.kl_to_base(model, trainer))
    records = _read(job.files.out / METRICS)
    evaluations = {one["step"]: one for one in records if one.get("event") == "eval"}
    base, at_best = evaluations.get(0, {}), evaluations.get(best_step, {})
    valid_loss, before = told_number(at_best, "valid_loss"), told_number(base, "valid_loss")
    if valid_loss is not None and before is not None and not valid_loss < before:
        log.note(
            f"{job.files.out}: never better than the base (validation loss {before:.4f} before, "
            f"{valid_loss:.4f} at step {best_step})"
        )
    losses = [told_number(one, "loss") for one in records if "event" not in one]
    final = next(one for one in reversed(records) if one.get("event") == FINAL)
    newest = list_checkpoints(job.files.out)[0]
    return FinetuneReport(
        out=str(job.files.out),
        kind="model" if job.config.lora is None else "adapter",
        method=job.config.method,
        parameters=architecture_of(job.source.config).parameters,
        trained_parameters=sum(one.numel() for one in trainer.model.parameters() if one.requires_grad),
        steps=trainer.step,
        planned_steps=trainer.recipe.steps,
        best_step=best_step,
        tokens=trainer.tokens,
        loss=losses[-1] if losses else None,
        valid_loss_base=before,
        valid_loss=valid_loss,
        valid=_figures(at_best),
        valid_base=_figures(base),
        reward_accuracy_interval=accuracy_interval(at_best),
        kl_to_base=final["kl_to_base"],
        bits_per_byte=at_best.get("bits_per_byte"),
        samples=_samples(records),
        audit=job.audit,
        seconds=round(log.seconds, 3),
        tokens_per_second=log.tokens_per_second,
        mfu=log.mfu,
        memory_bytes=used_memory_bytes(job.setup.device),
        skipped_steps=trainer.skipped,
        resumed_step=ended.start.step,
        checkpoint=inside(newest[-1], job.files.out) if newest else "",
    )


def accuracy_interval(evaluation: dict[str, Any]) -> tuple[float, float] | None:
    """95 % (Wilson's) of the pairs that an evaluation has right; None where it is of no pairs."""
    if "reward_accuracy" not in evaluation:
        return None
    pairs = evaluation["units"]
    return wilson(round(evaluation["reward_accuracy"] * pairs), pairs)


def _figures(evaluation: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in evaluation.items() if name not in _NOT_FIGURES}


def _samples(records: Records) -> list[SampleText]:
    before = {
        one["prompt"]: one["text"] for one in records if one.get("event") == "sample" and one["step"] == 0
    }
    after = {one["prompt"]: one["text"] for one in records if one.get("event") == "after"}
    return [
        SampleText(prompt=prompt, before=before.get(prompt), after=text) for prompt, text in after.items()
    ]


def _read(path: Path) -> Records:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
