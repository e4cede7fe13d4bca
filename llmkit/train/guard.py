"""Losses and gradients that should not be learnt from: not finite, or far out of line."""

import math
from collections import deque
from collections.abc import Iterable
from typing import Any, Literal

from llmkit.errors import LlmkitError

Verdict = Literal["nonfinite", "spike"]
WINDOW = 128
MIN_HISTORY = 32
"""Before so many steps nothing counts as a spike: there is no line yet to be out of."""
SIGMAS = 6.0
MOST_LEFT_OUT = 32
"""Updates in a row that are not finite and may be left out. One more ends the run: it is not the batches
that are bad, but the weights, which come to nothing else however many batches are passed over."""
Limits = tuple[float | None, float | None]
"""The loss and the gradient norm above which the next step is a spike; None: not known yet."""


class BadUpdateError(LlmkitError):
    """An update that was not made, because it is bad and the run is to stop then."""

    def __init__(self, verdict: Verdict, problem: str, *, hint: str, left_out: int = 0) -> None:
        super().__init__(problem, hint=hint)
        self.verdict = verdict
        self.left_out = left_out
        """Updates in a row before it that were left out, where that is why the run stops."""


def bad_update(
    verdict: Verdict,
    step: int,
    loss: float,
    grad_norm: float,
    limits: Limits,
    *,
    lr: float,
    left_out: int = 0,
) -> BadUpdateError:
    """What is raised at an update that ends its run.

    Args:
        verdict: what is wrong with it.
        step: its number, the first being 1.
        loss: its own.
        grad_norm: its own.
        limits: of what came before it.
        lr: the run's peak rate.
        left_out: see `BadUpdateError`.
    """
    usual = ""
    if None not in limits:
        usual = f"; usual: loss below {limits[0]:.4g}, norm below {limits[1]:.4g}"
    what = "is not finite" if verdict == "nonfinite" else "is a spike"
    times = f", after {left_out} updates in a row that were left out" if left_out else ""
    again = f"start again with --lr {lr / 2:.3g} or a longer --warmup-steps"
    return BadUpdateError(
        verdict,
        f"step {step}: the loss or its gradient {what} "
        f"(found loss {loss:.4g}, gradient norm {grad_norm:.4g}{usual}){times}",
        hint=again if left_out else f"pass over such batches with --on-{verdict} skip, or {again}",
        left_out=left_out,
    )


class Spike(Exception):  # noqa: N818 (control flow: it reaches the loop, never a person)
    """An update that was not made, because it is a spike and the run is to go back from it."""

    def __init__(self, step: int, loss: float, grad_norm: float) -> None:
        super().__init__(f"step {step}: loss {loss:.4g}, gradient norm {grad_norm:.4g}")
        self.step = step
        """Of the update, the first being 1."""
        self.loss = loss
        self.grad_norm = grad_norm


class Guard:
    """Remembers the last losses and gradient norms and judges the next ones.

    A spike is a loss or a norm above mean + 6 standard deviations of the last 128 (OLMo-core's rule). Every
    finite value joins the history, spikes too, so a lasting change of level is accepted after a while.
    """

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._norms: deque[float] = deque(maxlen=WINDOW)

    def judge(self, loss: float, grad_norm: float) -> Verdict | None:
        """What is wrong with a step, or None where it is as it should be."""
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            return "nonfinite"
        spike = _is_above(loss, self._losses) or _is_above(grad_norm, self._norms)
        self._losses.append(loss)
        self._norms.append(grad_norm)
        return "spike" if spike else None

    def limits(self) -> Limits:
        """What the next step is judged by."""
        return _limit(self._losses), _limit(self._norms)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as JSON."""
        return {"losses": list(self._losses), "grad_norms": list(self._norms)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a kept state."""
        self._losses = deque(state["losses"], maxlen=WINDOW)
        self._norms = deque(state["grad_norms"], maxlen=WINDOW)


def _is_above(value: float, history: Iterable[float]) -> bool:
    limit = _limit(history)
    return limit is not None and value > limit


def _limit(history: Iterable[float]) -> float | None:
    values = list(history)
    if len(values) < MIN_HISTORY:
        return None
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean + SIGMAS * math.sqrt(variance)
