"""Asking a run to stop: by signal or by the clock, at the next point where its state is whole.

SIGTERM, SIGHUP (the terminal went) and --max-time wait for the end of the step. Ctrl-C waits half a second
for it and then interrupts; a second Ctrl-C interrupts at once.
"""

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Literal

from llmkit.signals import has_come

Reason = Literal["sigterm", "sighup", "sigint", "max_time"]
INTERRUPT_AFTER_SECONDS = 0.5


class StopRequest:
    """A context in which SIGINT, SIGTERM and SIGHUP are requests; `reason` says whether one came.

    A SIGHUP or SIGINT that was to be ignored still is: nohup and a script's `&` mean it so. A signal that
    came before and was lost is a request from the beginning.

    Args:
        max_seconds: a request comes by itself after this time; None: never.
    """

    def __init__(self, max_seconds: float | None = None) -> None:
        self._deadline = None if max_seconds is None else time.monotonic() + max_seconds
        self._signalled: Reason | None = None
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def reason(self) -> Reason | None:
        """Why to stop, or None to go on."""
        if self._signalled is None and self._deadline is not None and time.monotonic() >= self._deadline:
            return "max_time"
        return self._signalled

    def hold(self) -> None:
        """The end of the step was reached: what follows may finish before an interrupt falls due."""
        if self._previous:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # the only thread that may set handlers
            handlers = {signal.SIGTERM: self._terminate, signal.SIGALRM: _give_up}
            for number, handler in ((signal.SIGHUP, self._terminate), (signal.SIGINT, self._interrupt)):
                if signal.getsignal(number) != signal.SIG_IGN:
                    handlers[number] = handler
            self._previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
            for number, previous in self._previous.items():
                if has_come(previous):
                    handlers[number](number, None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._previous:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in self._previous.items():
                signal.signal(number, handler)
            self._previous = {}

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        self._signalled = self._signalled or ("sighup" if number == signal.SIGHUP else "sigterm")

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._signalled == "sigint":
            raise KeyboardInterrupt
        self._signalled = "sigint"
        signal.setitimer(signal.ITIMER_REAL, INTERRUPT_AFTER_SECONDS)


def _give_up(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
