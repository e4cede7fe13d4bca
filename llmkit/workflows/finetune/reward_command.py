"""A program of the user's as the judge of answers: JSON lines in, a number a line out.

    {"prompt": ..., "completion": ..., other keys of the record}  ->  0.5   or   {"score": 0.5}

It is started once, through the shell, and answers every line with a line, in order, until its input ends. It
must not hold answers back until then (Python: print(..., flush=True)). What it writes to stderr goes to ours.
"""

import json
import math
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from llmkit.errors import DataError, LlmkitError, MissingError, UsageError
from llmkit.machine import signal_name

TIMEOUT_SECONDS = 60.0
"""For which a program may be silent, where nobody says otherwise."""
_GRACE_SECONDS = 2.0  # for a program to end once its input has
_MOST_BYTES = 1 << 20  # of a line: a number is shorter
_NOT_FOUND = 127  # a shell's exit status where there is no such program


class RewardCommand:
    """A running program that scores answers; a context manager, which ends it and all that it started.

    Args:
        command: a line for /bin/sh.
        timeout_seconds: how long it may be silent while an answer is awaited.

    Raises:
        UsageError: no command, or no time.
    """

    def __init__(self, command: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        if not command.strip() or not timeout_seconds > 0:
            raise UsageError(
                "no reward command" if not command.strip() else f"a timeout of {timeout_seconds:g} s",
                hint='a program that reads JSON lines, such as "python reward.py"',
            )
        self.command = command
        self._timeout = timeout_seconds
        self._answers = 0
        self._unread = b""
        self._process = subprocess.Popen(
            command,
            shell=True,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a group of its own, which can be ended as a whole
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        os.set_blocking(self._stdout.fileno(), False)

    def __enter__(self) -> "RewardCommand":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def score(self, records: Sequence[dict[str, Any]]) -> list[float]:
        """A score for each record, in order.

        Raises:
            DataError: an answer is no finite number, is not one that was asked for, or does not come: the
                program ended, or was silent for too long.
            MissingError: there is no such program.
        """
        waiting = memoryview(
            "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
        )
        scores: list[float] = []
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            if waiting:
                self._refuse_surplus(selector)
                selector.register(self._stdin, selectors.EVENT_WRITE)
            deadline = time.monotonic() + self._timeout
            while len(scores) < len(records):
                for key, _ in self._wait(selector, deadline):
                    if key.fileobj is self._stdin:
                        waiting = waiting[self._write(waiting) :]
                        if not waiting:
                            selector.unregister(self._stdin)
                    else:
                        self._read()
                    deadline = time.monotonic() + self._timeout
                while len(scores) < len(records) and (line := self._next_line()) is not None:
                    scores.append(self._number(line))
            self._refuse_surplus(selector)
        return scores

    def close(self) -> None:
        """End its input, and after a moment it and whatever it started. May be called twice."""
        self._stdin.close()
        if self._process.returncode is None:
            self._end(_GRACE_SECONDS)
        self._stdout.close()

    def _wait(
        self, selector: selectors.BaseSelector, deadline: float
    ) -> list[tuple[selectors.SelectorKey, int]]:
        ready = selector.select(max(0.0, deadline - time.monotonic()))
        if not ready:
            raise DataError(
                f"reward command `{self.command}`: no answer {self._answers + 1} within {self._timeout:g} s",
                hint="one line for each line, flushed at once (Python: print(score, flush=True)); "
                "or allow more time with --reward-timeout",
            )
        return ready

    def _write(self, waiting: memoryview) -> int:
        try:
            return self._stdin.write(waiting[: 1 << 16]) or 0
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            raise self._death() from None

    def _read(self) -> None:
        found = self._stdout.read(1 << 16)
        if found == b"":
            raise self._death()
        self._unread += found or b""
        if len(self._unread) > _MOST_BYTES and b"\n" not in self._unread:
            raise self._wrong(self._unread[:40], "has no end")

    def _next_line(self) -> bytes | None:
        line, end, rest = self._unread.partition(b"\n")
        if not end:
            return None
        self._unread = rest
        self._answers += 1
        return line

    def _refuse_surplus(self, selector: selectors.BaseSelector) -> None:
        """An answer that nobody asked for would be taken for the next one's."""
        if not self._unread and any(key.fileobj is self._stdout for key, _ in selector.select(0)):
            self._unread = self._stdout.read(1 << 16) or b""  # if it has ended: the next call says so
        if self._unread:
            self._answers += 1
            raise self._wrong(self._unread.partition(b"\n")[0], "is one too many")

    def _number(self, line: bytes) -> float:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise self._wrong(line, "is not a number") from None
        if isinstance(value, dict):
            value = value.get("score")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(line, "is not a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self._wrong(line, "is not finite")
        return number

    def _wrong(self, line: bytes, why: str) -> DataError:
        text = line.decode(errors="replace")
        shown = text if len(text) <= 60 else text[:60] + "..."
        return DataError(
            f"reward command `{self.command}`: answer {self._answers} {why} (found: {shown!r})",
            hint='print one line for each line read, such as 0.5 or {"score": 0.5}; logs belong on stderr',
        )

    def _death(self) -> LlmkitError:
        status = self._end(1.0)
        if status is None:
            how = "closed its output or input"
        else:
            how = f"ended with status {status}" if status >= 0 else f"was ended by {signal_name(-status)}"
        kind = MissingError if status == _NOT_FOUND and not self._answers else DataError
        return kind(
            f"reward command `{self.command}`: it {how} after {self._answers} answers",
            hint="it should read lines until its input ends; try it on one line: "
            """echo '{"prompt":"2+2=","completion":"4"}' | """ + self.command,
        )

    def _end(self, grace: float) -> int | None:
        """Its exit status once its whole group is gone; None where it did not end by itself.

        The group is ended before the program is waited for: until then no other can have its number.
        """
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        deadline = time.monotonic() + grace
        while os.waitid(os.P_PID, self._process.pid, options) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        by_itself = os.waitid(os.P_PID, self._process.pid, options) is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        status = self._process.wait()
        return status if by_itself else None
