"""A profile of some updates: what each operator took, and a trace that chrome://tracing and Perfetto open."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import ConfigError

if TYPE_CHECKING:
    from torch.profiler import profile as Recorder

COUNT = 3
"""Updates that are recorded where it is not said."""
ROWS = 10
"""Operators of a table."""


@dataclass(frozen=True)
class Window:
    """Which updates are recorded, counted from where a call begins."""

    wait: int
    """Updates before."""
    count: int

    def clipped(self, updates: int) -> "Window":
        """The part of it that lies in so many updates."""
        return Window(self.wait, max(0, min(self.count, updates - self.wait)))


@dataclass(frozen=True)
class OperatorCost:
    """What an operator took, without those that it called, in each of the recorded updates."""

    name: str
    calls: float
    seconds: float
    share: float
    """Of all operators."""


def parse_window(text: str) -> Window:
    """`10:3`: after ten updates record three; `10`: the same.

    Raises:
        ConfigError: it is none of these.
    """
    wait, colon, count = text.partition(":")
    numbers = (wait, count) if colon else (wait, str(COUNT))
    if not all(one.isascii() and one.isdigit() for one in numbers) or int(numbers[1]) == 0:
        raise ConfigError(
            f"--profile {text}: not WAIT or WAIT:COUNT",
            hint="--profile 10:3 waits ten steps and records three",
        )
    return Window(int(numbers[0]), int(numbers[1]))


class StepProfiler:
    """Records the updates of a window; torch's profiler is imported when the first of them begins.

    Args:
        window: of the updates that are still to come, and inside them.
        first_step: the number of the first of these.
        on_cuda: whether kernels of a GPU are recorded too.
        write: takes a way to write the trace, the table, and the first and last step that were recorded.
    """

    def __init__(
        self,
        window: Window,
        first_step: int,
        *,
        on_cuda: bool,
        write: Callable[[Callable[[Path], None], list[OperatorCost], int, int], None],
    ) -> None:
        self._first = first_step + window.wait
        self._last = self._first + window.count - 1
        self._begin = max(first_step, self._first - 1)  # one update warms the profiler up
        self._on_cuda = on_cuda
        self._write = write
        self._recorder: Recorder | None = None
        self._started = False  # once, though a run may go back

    @contextmanager
    def watch(self, step: int) -> Iterator[None]:
        """An update, from its begin to its end."""
        if step == self._begin and self._first <= self._last and not self._started:
            self._started = True
            self._recorder = self._start()
        yield
        if self._recorder is not None:
            recorder = self._recorder
            recorder.step()
            if step == self._last:
                self._recorder = None
                recorder.stop()

    def _start(self) -> "Recorder":
        from torch.profiler import ProfilerAction, ProfilerActivity, profile

        def action(step: int) -> ProfilerAction:
            step = max(step, self._begin)  # it asks for its own first step, before it can be told of ours
            if step < self._first:
                return ProfilerAction.WARMUP
            if step > self._last:
                return ProfilerAction.NONE
            return ProfilerAction.RECORD_AND_SAVE if step == self._last else ProfilerAction.RECORD

        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * self._on_cuda
        recorder = profile(
            activities=activities, schedule=action, on_trace_ready=self._ready, record_shapes=True
        )
        recorder.step_num = self._begin  # which the marks in the trace are named for
        recorder.start()
        return recorder

    def _ready(self, recorder: Any) -> None:
        costs = operator_costs(recorder.key_averages(), self._last - self._first + 1)
        self._write(lambda path: recorder.export_chrome_trace(str(path)), costs, self._first, self._last)


def operator_costs(events: Any, updates: int) -> list[OperatorCost]:
    """The costliest operators first: by time on the GPU where there is any, else on the CPU.

    Args:
        events: `key_averages()` of a profiler; the marks of its steps among them are passed over.
        updates: that were recorded.
    """
    operators = [one for one in events if not one.key.startswith("ProfilerStep")]
    device = sum(one.self_device_time_total for one in operators) > 0
    spent = [one.self_device_time_total if device else one.self_cpu_time_total for one in operators]
    total = sum(spent) or 1.0
    costs = [
        OperatorCost(one.key, one.count / updates, micros / 1e6 / updates, micros / total)
        for one, micros in zip(operators, spent, strict=True)
        if micros > 0
    ]
    return sorted(costs, key=lambda one: (-one.seconds, one.name))


def costs_table(costs: list[OperatorCost]) -> str:
    """The first ROWS of them, a line each."""
    shown = costs[:ROWS]
    rest = sum(one.share for one in costs[ROWS:])
    rows = [("operator", "calls", "ms", "share")]
    rows += [
        (one.name[:44], f"{one.calls:,.0f}", f"{one.seconds * 1e3:.2f}", f"{one.share:.1%}") for one in shown
    ]
    if len(costs) > ROWS:
        rows.append((f"{len(costs) - ROWS} more", "", "", f"{rest:.1%}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )
