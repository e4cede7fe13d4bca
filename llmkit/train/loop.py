"""The loop of a run: updates, and what falls due between them."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from llmkit.errors import LlmkitError
from llmkit.train.best import Best
from llmkit.train.evaluate import Evaluation
from llmkit.train.guard import BadUpdateError, Spike
from llmkit.train.metrics import RunLog
from llmkit.train.stop import Reason, StopRequest
from llmkit.train.trainer import StepResult, Trainer


@dataclass(frozen=True)
class Duties:
    """What is done every so many steps; a count of 0 or a missing function: never."""

    eval_every: int = 0
    evaluate: Callable[[Callable[[], None]], Evaluation] | None = None
    """Scores the model; calls its argument now and then, which may raise."""
    sample_every: int = 0
    sample: Callable[[int], list[tuple[str, str]]] | None = None
    """Prompts and what the model makes of them at a step."""
    checkpoint_every: int = 0
    keep_every: int = 0
    """Saved too; these checkpoints stay."""
    save: Callable[[], None] = lambda: None
    notice: Callable[[], None] = lambda: None
    """Called after each step: a save that goes on beside may be over, or have failed."""
    settle: Callable[[], None] = lambda: None
    """Waits for such a save: at the end, whatever it is."""
    can_save_at_once: Callable[[], bool] = lambda: True
    """Whether saving takes less than half a second, so that Ctrl-C can wait for it."""
    from_the_start: bool = False
    """The model is evaluated and sampled before the first update too."""
    watch: Callable[[int], AbstractContextManager[None]] = lambda _: nullcontext()
    """Stands around each update, and is told its number."""
    rewind: Callable[[Spike], None] | None = None
    """Takes the trainer back from a spike."""
    rescue: Callable[[LlmkitError], None] = lambda _: None
    """Told of an update that ends the run, before it does: saves the step before it. It is a bad one, or has
    nothing to learn from: a row cannot be read, or the program that scores answers is gone."""
    best: Best | None = None
    """Judges evaluations: a better one is saved at once, too many that are not end the run."""


_REASONS: tuple[Reason | None, ...] = (None, "max_time", "sighup", "sigterm", "sigint")


class _StopNow(Exception):  # noqa: N818 (control flow inside this file)
    """Leaves an evaluation when the run is asked to stop."""


def train(
    trainer: Trainer, duties: Duties, log: RunLog, stop: StopRequest, *, owed: bool = False
) -> Reason | None:
    """Train to the last step of the recipe, or until asked to stop.

    Args:
        trainer: fresh or restored.
        duties: evaluation, samples, checkpoints.
        log: told of everything.
        stop: asked after each step.
        owed: the restored step was to be evaluated, and was not.

    Returns:
        None when the run is complete, or over early, else why it stopped. It has been saved at its last step,
        unless the reason is `sigint` and saving would have taken too long.

    Raises:
        BadUpdateError: an update is bad, and the run is to stop then. `rescue` was told.
    """
    try:
        reason = _train(trainer, duties, log, stop, owed=owed)
    except BaseException:
        duties.settle()
        raise
    duties.settle()
    trainer.ranks.wait()  # the last checkpoint is there for every process
    return reason


def _train(trainer: Trainer, duties: Duties, log: RunLog, stop: StopRequest, *, owed: bool) -> Reason | None:
    best = duties.best
    if owed:
        if not _report(trainer, duties, log, stop):
            return _agreed(trainer, stop)
        if _is_best(best, trainer.step):
            duties.save()
    log.resume_clock()
    while trainer.step < trainer.recipe.steps and not (best and best.is_over):
        try:
            result = _update(trainer, duties)
        except BadUpdateError as bad:
            duties.rescue(bad)
            raise
        if result is None:
            log.resume_clock()
            continue
        log.step(result, trainer.tokens)
        duties.notice()
        reported = _report(trainer, duties, log, stop)
        done = trainer.step == trainer.recipe.steps or bool(best and best.is_over)
        reason = None if done and reported else _agreed(trainer, stop)
        if reason == "sigint":
            stop.hold()
            if duties.can_save_at_once():
                duties.save()
            return reason
        if done or reason or _is_best(best, trainer.step) or is_saved(trainer.step, duties):
            duties.save()
        if reason:
            return reason
        log.resume_clock()
    return None


def _update(trainer: Trainer, duties: Duties) -> StepResult | None:
    """The next update; None where the run went back in its place."""
    try:
        with duties.watch(trainer.step + 1):
            return trainer.train_step()
    except Spike as spike:
        if duties.rewind is None:
            raise
        duties.rewind(spike)
        return None
    except BadUpdateError:  # one that no rewind helps against is told too, by the caller
        raise
    except LlmkitError as error:
        duties.rescue(error)
        raise


def is_due(step: int, duties: Duties, last_step: int) -> bool:
    """Whether a step is evaluated."""
    first = step == 0 and duties.from_the_start
    every = step > 0 and _due(step, duties.eval_every)
    return duties.evaluate is not None and (first or step == last_step or every)


def is_sampled_first(step: int, duties: Duties) -> bool:
    """Whether samples are due before the first update."""
    return step == 0 and duties.from_the_start and duties.sample is not None


def is_saved(step: int, duties: Duties) -> bool:
    """Whether a checkpoint is due after a step, whatever happens in it."""
    return _due(step, duties.checkpoint_every) or _due(step, duties.keep_every)


def _report(trainer: Trainer, duties: Duties, log: RunLog, stop: StopRequest) -> bool:
    """Evaluate and sample where that is due; False when a request to stop cut it short."""
    step = trainer.step

    def leave_if_asked() -> None:
        if _agreed(trainer, stop) is not None:
            raise _StopNow

    try:
        if duties.evaluate is not None and is_due(step, duties, trainer.recipe.steps):
            evaluation = duties.evaluate(leave_if_asked)
            log.evaluated(step, evaluation)
            if duties.best is not None:
                duties.best.judge(step, evaluation.loss)
        sampled = step > 0 and _due(step, duties.sample_every)
        if duties.sample is not None and (sampled or is_sampled_first(step, duties)):
            for prompt, text in duties.sample(step):
                log.sampled(step, prompt, text)
    except _StopNow:
        return False
    return True


def _agreed(trainer: Trainer, stop: StopRequest) -> Reason | None:
    """Why to stop: what one process was asked, all do at the same step."""
    return _REASONS[trainer.ranks.highest(_REASONS.index(stop.reason))]


def _is_best(best: Best | None, step: int) -> bool:
    return best is not None and best.step == step


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
