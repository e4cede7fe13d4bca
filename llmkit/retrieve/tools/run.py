"""A program run once, with bounds: so much time, so much output, and nothing of it is left behind."""

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from llmkit.machine import signal_name
from llmkit.retrieve.tools.config import ToolError, ToolLimits
from llmkit.retrieve.tools.leave import check_awaited
from llmkit.retrieve.tools.process_group import end_group, has_ended

_SAID_BYTES = 2_000
"""Of the end of what a program says on stderr: for the message, where it fails."""
_POLL_SECONDS = 0.02
"""Between two looks at whether a program has ended: another may hold its output open."""


@dataclass
class _Said:
    """What has come from a program."""

    out: bytes = b""
    err: bytes = b""


def run_program(command: Sequence[str], given: bytes, limits: ToolLimits) -> bytes:
    """What a program writes to stdout.

    Args:
        command: the program and its arguments; no shell reads them.
        given: its stdin.
        limits: beyond them it is ended, with everything that it started in its process group.

    Raises:
        ToolError: it cannot be started, failed, took too long or wrote too much; or nobody waits for it.
    """
    try:
        process = subprocess.Popen(
            list(command),
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a group of its own, without a terminal, which can be ended as a whole
        )
    except (OSError, ValueError) as error:
        raise ToolError(f"cannot be run: {getattr(error, 'strerror', None) or error}") from None
    said = _Said()
    ended = False
    try:
        ended = _attend(process, given, limits, said)
    finally:
        status = end_group(process)
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
    if not ended or status is None:
        raise ToolError(f"no result within {limits.seconds:g} seconds")
    if status:
        how = f"status {status}" if status > 0 else signal_name(-status)
        last = said.err.decode(errors="replace").strip().splitlines()[-1:]
        raise ToolError(f"failed with {how}" + "".join(f": {line[:300]}" for line in last))
    return said.out


def _attend(process: "subprocess.Popen[bytes]", given: bytes, limits: ToolLimits, said: _Said) -> bool:
    """Feed and read a program until it ends; whether it did in its time."""
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    deadline = time.monotonic() + limits.seconds
    waiting = memoryview(given)
    with selectors.DefaultSelector() as selector:
        for stream, event in (
            (process.stdin, selectors.EVENT_WRITE),
            (process.stdout, selectors.EVENT_READ),
            (process.stderr, selectors.EVENT_READ),
        ):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, event)
        ended = False
        while True:
            check_awaited()
            left = deadline - time.monotonic()
            if left <= 0:
                return ended
            ready = selector.select(0 if ended else min(left, _POLL_SECONDS)) if selector.get_map() else []
            for key, _ in ready:
                if key.fileobj is process.stdin:
                    waiting = _write(process.stdin, waiting)
                    if not waiting:
                        selector.unregister(process.stdin)
                        process.stdin.close()
                elif not _read(key.fileobj, key.fileobj is process.stdout, said):  # type: ignore[arg-type]
                    selector.unregister(key.fileobj)
                if len(said.out) > limits.output_bytes:
                    raise ToolError(f"more than {limits.output_bytes:,} bytes of output")
            if ended and not any(key.fileobj is not process.stdin for key, _ in ready):
                return True  # it had ended, and all that it wrote has been read
            ended = ended or has_ended(process)
            if not selector.get_map() and not ended:
                time.sleep(min(_POLL_SECONDS, max(0.0, left)))


def _write(stream: IO[bytes], waiting: memoryview) -> memoryview:
    """What is left to be written; nothing where the program reads no more."""
    try:
        return waiting[stream.write(waiting[: 1 << 16]) or 0 :]
    except BlockingIOError:
        return waiting
    except BrokenPipeError:
        return memoryview(b"")


def _read(stream: IO[bytes], is_result: bool, said: _Said) -> bool:
    """Read what is there; False at the end."""
    found = stream.read(1 << 16)
    if is_result:
        said.out += found or b""
    else:
        said.err = (said.err + (found or b""))[-_SAID_BYTES:]
    return found != b""
