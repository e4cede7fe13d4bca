"""A metrics file read once, a line at a time: the loss curve, the last figures, the events.

Steps that were done again after a resume or a rewind count once: the later line holds.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import DataError
from llmkit.formats.json_text import is_number
from llmkit.formats.jsonl import BadLine, Line, decode_all, read_records

CURVE_POINTS = 200
"""At most so many points of a curve in a report; each is the mean of a stretch of steps."""
CURVES = ("lr", "grad_norm", "tokens_per_second")
"""Fields of a step that are drawn beside its loss."""
_VALID_LOSS = ("valid_loss", "val_loss", "loss")


class Point(msgspec.Struct, frozen=True):
    """A loss, and the step it was measured at."""

    step: float
    loss: float


class CurvePoint(msgspec.Struct, frozen=True):
    """A figure of a step other than its loss."""

    step: float
    value: float


class Rewind(msgspec.Struct, frozen=True):
    """The run went back from a spike."""

    step: int
    """It went on from."""
    spike_step: int
    undone_steps: int


class MetricsSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a metrics file says about a run."""

    steps: int
    """Steps that have a line."""
    first_loss: float | None = None
    last_loss: float | None = None
    lowest_loss: float | None = None
    lowest_loss_step: int | None = None
    lowest_valid_loss: float | None = None
    lowest_valid_loss_step: int | None = None
    tokens_per_second: float | None = None
    """Mean over the last tenth of the steps."""
    last: dict[str, Any] = {}
    """The last step's line as it stands."""
    last_eval: dict[str, Any] = {}
    events: dict[str, int] = {}
    """How often each event happened."""
    stop: dict[str, Any] = {}
    """The `stop` event that ends the file; empty while a run goes on, or after a kill."""
    not_finite: int = 0
    """Steps without a finite loss."""
    rewinds: list[Rewind] = []
    """What was undone is in no curve."""
    train: list[Point] = []
    valid: list[Point] = []
    curves: dict[str, list[CurvePoint]] = {}
    """The names in CURVES that the steps have."""
    norms_step: int | None = None
    """The last update whose layers were watched (`--log-norms`)."""
    norms: list[dict[str, Any]] = []
    """Of its layers: name, gradient, weight, update_ratio, activation_rms, activation_max."""


def read_metrics(path: Path) -> Iterator[Line]:
    """The lines of a metrics file; a last line cut short, as kill -9 leaves it, is passed over.

    Raises:
        DataError: another line is malformed.
    """
    bad: list[BadLine] = []
    for line in read_records(path, on_bad=bad.append):
        if bad:
            break
        yield line
    else:
        return
    where = f"{bad[0].file}:{bad[0].number}"
    raise DataError(f"{where}: {bad[0].problem}", hint="mend the line, or remove it")


def summarise_metrics(lines: Iterable[Line]) -> MetricsSummary:
    """Read a metrics file.

    Raises:
        DataError: a line is not a JSON object, or has neither a step nor an event.
    """
    reading = _Reading()
    for line in lines:
        record = decode_all(line)
        step = record.get("step")
        if record.get("event") is not None:
            reading.event(record, step if isinstance(step, int) else None)
        elif isinstance(step, int):
            reading.step(record, step)
        else:
            raise DataError(
                f"{line.where}: neither a step nor an event (found: {', '.join(record) or 'no keys'})",
                hint="each line of a metrics file has a step with its loss, or an event",
            )
    return reading.summary()


def eval_loss(record: dict[str, Any]) -> float | None:
    """The validation loss in an `eval` event."""
    return next((float(record[key]) for key in _VALID_LOSS if is_number(record.get(key))), None)


@dataclass
class _Reading:
    """What has been seen so far."""

    losses: dict[int, float] = field(default_factory=dict)
    valid: dict[int, float] = field(default_factory=dict)
    curves: dict[str, dict[int, float]] = field(default_factory=lambda: {name: {} for name in CURVES})
    events: dict[str, int] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)
    evals: dict[int, dict[str, Any]] = field(default_factory=dict)
    norms: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    rewinds: list[Rewind] = field(default_factory=list)
    stop: dict[str, Any] = field(default_factory=dict)

    def step(self, record: dict[str, Any], step: int) -> None:
        """A step's line; one from before the last line means that the run went back to a checkpoint."""
        if self.last and step <= self.last["step"]:
            self._forget_after(step - 1)
        self.last, self.stop = record, {}
        self.losses[step] = float(record["loss"]) if is_number(record.get("loss")) else math.nan
        for name, seen in self.curves.items():
            if is_number(record.get(name)):
                seen[step] = float(record[name])

    def _forget_after(self, step: int) -> None:
        every: list[dict[int, Any]] = [self.losses, self.valid, self.evals, self.norms, *self.curves.values()]
        for seen in every:
            for later in [done for done in seen if done > step]:
                del seen[later]

    def event(self, record: dict[str, Any], step: int | None) -> None:
        """A start, eval, checkpoint or stop."""
        name = str(record["event"])
        self.events[name] = self.events.get(name, 0) + 1
        self.stop = record if name == "stop" else {}
        if name == "rewind" and step is not None:
            self._forget_after(step)
            if self.last and self.last["step"] > step:
                self.last = {}
            undone = record.get("undone") or []
            self.rewinds.append(Rewind(step, int(record.get("spike_step", 0)), len(undone)))
        if name == "norms" and step is not None:
            self.norms[step] = record.get("layers") or []
        if name == "eval":
            self.evals[step or 0] = record
            loss = eval_loss(record)
            if loss is not None and step is not None:
                self.valid[step] = loss

    def summary(self) -> MetricsSummary:
        """Everything so far, curves thinned."""
        finite = {step: loss for step, loss in self.losses.items() if math.isfinite(loss)}
        losses, speeds = list(finite.values()), list(self.curves["tokens_per_second"].values())
        recent = speeds[-max(1, len(speeds) // 10) :]
        lowest = min(finite, key=finite.__getitem__, default=None)
        lowest_valid = min(self.valid, key=self.valid.__getitem__, default=None)
        return MetricsSummary(
            steps=len(self.losses),
            first_loss=losses[0] if losses else None,
            last_loss=losses[-1] if losses else None,
            lowest_loss=None if lowest is None else finite[lowest],
            lowest_loss_step=lowest,
            lowest_valid_loss=None if lowest_valid is None else self.valid[lowest_valid],
            lowest_valid_loss_step=lowest_valid,
            tokens_per_second=sum(recent) / len(recent) if recent else None,
            last=self.last,
            last_eval=self.evals[max(self.evals)] if self.evals else {},
            events=self.events,
            stop=self.stop,
            not_finite=len(self.losses) - len(finite),
            rewinds=self.rewinds,
            norms_step=max(self.norms, default=None),
            norms=self.norms[max(self.norms)] if self.norms else [],
            train=_thinned(finite),
            valid=_thinned(self.valid),
            curves={
                name: [CurvePoint(point.step, point.loss) for point in _thinned(seen)]
                for name, seen in self.curves.items()
                if seen
            },
        )


def _thinned(losses: dict[int, float]) -> list[Point]:
    """At most CURVE_POINTS means over equal stretches, in order of steps."""
    points = sorted(losses.items())
    stretch = -(-len(points) // CURVE_POINTS) or 1
    thin = []
    for start in range(0, len(points), stretch):
        part = points[start : start + stretch]
        thin.append(
            Point(sum(step for step, _ in part) / len(part), sum(loss for _, loss in part) / len(part))
        )
    return thin
