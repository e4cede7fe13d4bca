"""What a run says while it goes on: one record a step, one each event, and a line of progress for people."""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from llmkit.formats.amount_text import plural
from llmkit.progress import Progress
from llmkit.train.evaluate import Evaluation
from llmkit.train.guard import Spike
from llmkit.train.step_profile import ROWS, OperatorCost, costs_table
from llmkit.train.trainer import StepResult

Record = dict[str, Any]
_MEMORY = 0.9  # of the speed that progress shows: about the last ten steps


@dataclass(frozen=True)
class Cost:
    """What turns a speed into a share of the machine."""

    flops_per_token: float
    """Of a forward and backward pass."""
    peak_flops_per_second: float


@dataclass
class _Pace:
    """Tokens and seconds added up."""

    tokens: float = 0.0
    seconds: float = 0.0

    def add(self, tokens: float, seconds: float, memory: float = 1.0) -> None:
        """Count some more; what was there before weighs `memory` of what it did."""
        self.tokens = memory * self.tokens + tokens
        self.seconds = memory * self.seconds + seconds

    @property
    def speed(self) -> float:
        """Tokens a second; 0 before anything was counted."""
        return self.tokens / self.seconds if self.seconds > 0 else 0.0


class RunLog:
    """Writes records and shows progress.

    Args:
        writers: each takes every record.
        progress: what a person sees.
        cost: for MFU.
        steps: of the whole run.
        seconds_before: time the run took before it was resumed.
        memory_bytes: the most memory held so far.
    """

    def __init__(
        self,
        writers: Iterable[Callable[[Record], None]],
        progress: Progress,
        cost: Cost,
        *,
        steps: int,
        seconds_before: float,
        memory_bytes: Callable[[], int],
    ) -> None:
        self._writers = list(writers)
        self._progress = progress
        self._cost = cost
        self._steps = steps
        self._begin = time.monotonic() - seconds_before
        self._memory_bytes = memory_bytes
        self._step_began = time.monotonic()
        self._recent = _Pace()
        self._total = _Pace()
        self._valid: dict[str, str] = {}
        self._first_left_out: int | None = None
        self.last: StepResult | None = None
        self.last_evaluation: Evaluation | None = None

    @property
    def seconds(self) -> float:
        """Since the run began, stretches in which it stood still left out."""
        return time.monotonic() - self._begin

    @property
    def tokens_per_second(self) -> float | None:
        """Since this call began; evaluation and checkpoints not counted. None before the first step."""
        return self._total.speed or None

    @property
    def mfu(self) -> float | None:
        """Model FLOPs utilisation (2204.02311), from 0 to 1, at that speed."""
        speed = self.tokens_per_second
        return None if speed is None else self._mfu(speed)

    def step(self, result: StepResult, tokens: int) -> None:
        """An update was made; `tokens` is the targets of the run so far."""
        now = time.monotonic()
        elapsed, self._step_began = now - self._step_began, now
        worked = result.tokens if result.worked is None else result.worked
        speed = worked / elapsed if elapsed > 0 else 0.0
        self._recent.add(worked, elapsed, _MEMORY)
        self._total.add(worked, elapsed)
        memory = self._memory_bytes()
        record: Record = {
            "time_seconds": round(self.seconds, 3),
            "step": result.step,
            "tokens": tokens,
            "loss": result.loss,
            "lr": result.lr,
            "grad_norm": result.grad_norm,
            "tokens_per_second": round(speed, 1),
            "mfu": round(self._mfu(speed), 5),
            "memory_bytes": memory,
        }
        if result.loader_seconds is not None:
            record["loader_seconds"] = round(result.loader_seconds, 6)
        record |= {name: _rounded(value) for name, value in result.stats.items()}
        if result.experts is not None:
            record["balance_loss"] = result.experts.balance_loss
            record["router_z_loss"] = result.experts.z_loss
            record["expert_load_max"] = round(result.experts.max_load, 4)
            record["expert_loads"] = [[round(load, 2) for load in layer] for layer in result.experts.loads]
        if result.skipped:
            record["skipped"] = result.skipped
            self._left_out(result)
        else:
            self._tell_left_out()
        self.last = result
        self._write(record)
        if result.norms is not None:
            self.event("norms", result.step, layers=result.norms)
        self._progress.update(result.step, self._steps, **self._figures(result, memory))

    def stopped(self, step: int, reason: str) -> None:
        """The run ended, or is to go on later."""
        self._tell_left_out()
        self.event("stop", step, reason=reason)

    def event(self, name: str, step: int, **fields: Any) -> None:
        """Something else happened."""
        self._write({"event": name, "time_seconds": round(self.seconds, 3), "step": step, **fields})

    def evaluated(self, step: int, evaluation: Evaluation) -> None:
        """The model was scored on held-out rows."""
        self.last_evaluation = evaluation
        fields: Record = {"valid_loss": evaluation.loss, "tokens": evaluation.tokens}
        text = f"step {step}: validation loss {evaluation.loss:.4f}"
        if evaluation.stats:
            fields |= {"units": evaluation.units, **evaluation.stats}
            text += "".join(
                f", {name.replace('_', ' ')} {mean:.4g}" for name, mean in evaluation.stats.items()
            )
        if evaluation.bits_per_byte is not None:
            fields["bits_per_byte"] = evaluation.bits_per_byte
            text += f", {evaluation.bits_per_byte:.4f} bits per byte"
        self._valid = {"valid": f"{evaluation.loss:.4f}"}
        self.event("eval", step, **fields)
        self._progress.note(text)

    def rewound(
        self, step: int, spike: Spike, *, passed_rows: int, rewinds: int, undone: Iterable[Record] = ()
    ) -> None:
        """The run went back to a step from a spike.

        Args:
            step: it goes on from.
            spike: that it went back from.
            passed_rows: rows that it passes over in all.
            rewinds: how often it went back, this time included.
            undone: records of the steps since, which were taken back: their losses are kept with the event.
        """
        self._tell_left_out()
        fields = {"spike_step": spike.step, "loss": spike.loss, "grad_norm": spike.grad_norm}
        steps = [
            {name: one.get(name) for name in ("step", "loss", "grad_norm")}
            for one in undone
            if "event" not in one
        ]
        self.event("rewind", step, **fields, passed_rows=passed_rows, rewinds=rewinds, undone=steps)
        self._progress.note(f"{spike}: a spike; back to step {step}, past the batches since (time {rewinds})")

    def sampled(self, step: int, prompt: str, text: str) -> None:
        """The model wrote something."""
        self.event("sample", step, prompt=prompt, text=text)
        self._progress.note(f"step {step}: {prompt}{text}")

    def profiled(self, first: int, last: int, path: str, costs: list[OperatorCost]) -> None:
        """Updates from `first` to `last` were profiled, and their trace written."""
        told = [{**asdict(one), "share": round(one.share, 4)} for one in costs[:ROWS]]
        self.event("profile", last, first_step=first, path=path, operators=told)
        self._progress.note(f"steps {first} to {last}: {path}, a step:\n{costs_table(costs)}")

    def note(self, message: str) -> None:
        """A line for a person that no record has."""
        self._progress.note(message)

    def resume_clock(self) -> None:
        """The next step begins now: what came between is not training time."""
        self._step_began = time.monotonic()

    def _left_out(self, result: StepResult) -> None:
        """A person reads of the first of several updates in a row, and how many they were in the end."""
        if self._first_left_out is None:
            self._first_left_out = result.step
            self._progress.note(
                f"step {result.step}: update left out ({result.skipped}: loss {result.loss:.4g}, "
                f"gradient norm {result.grad_norm:.4g})"
            )

    def _tell_left_out(self) -> None:
        """The updates that were left out in a row are over."""
        first, self._first_left_out = self._first_left_out, None
        if first is not None and self.last is not None and self.last.step > first:
            count = self.last.step - first + 1
            self._progress.note(f"steps {first} to {self.last.step}: {plural(count, 'update')} left out")

    def _write(self, record: Record) -> None:
        for write in self._writers:
            write(record)

    def _mfu(self, tokens_per_second: float) -> float:
        return tokens_per_second * self._cost.flops_per_token / self._cost.peak_flops_per_second

    def _figures(self, result: StepResult, memory: int) -> dict[str, float | str]:
        return {
            "loss": f"{result.loss:.4f}",
            **self._valid,
            **({} if result.experts is None else {"busiest expert": f"{result.experts.max_load:.2f}x"}),
            "tok/s": f"{self._recent.speed:,.0f}",
            "MFU": f"{self._mfu(self._recent.speed):.1%}",
            "memory": f"{memory / (1 << 20):,.0f} MiB",
        }


def _rounded(value: float) -> float:
    """Six digits: these are told, and nothing is worked out from them."""
    return float(f"{value:.6g}")
