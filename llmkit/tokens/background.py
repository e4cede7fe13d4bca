"""Long work that Ctrl-C need not wait for: in a background thread, on texts that this thread draws.

A call into Rust or numpy cannot be interrupted, but the thread that waits for it can. The background thread
is a daemon: when the program ends early, nobody waits for it. While it still takes texts it is told to stop
first, so that it does not come back from Rust into an interpreter that is gone.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

Result = TypeVar("Result")
TEXTS_AHEAD = 64
TICK_SECONDS = 0.1
PATIENCE_SECONDS = 0.7


class _Abandoned(Exception):  # noqa: N818 (nobody reports it)
    """Raised in the background where the foreground has given up."""


def run_in_background(
    work: Callable[[Iterator[str]], Result], texts: Iterable[str], *, tick: Callable[[], None]
) -> Result:
    """The result of `work` on an iterator over `texts`.

    Args:
        work: runs in the background.
        texts: drawn in this thread, a few ahead; an error there ends the work and goes on from here.
        tick: called in this thread ten times a second or oftener.

    Returns:
        What `work` returned; an error of its own is raised here.
    """
    ready: queue.Queue[str | None] = queue.Queue(TEXTS_AHEAD)
    is_abandoned = threading.Event()
    outcome: Future[Result] = Future()

    def drawn() -> Iterator[str]:
        while (text := ready.get()) is not None:
            yield text
        if is_abandoned.is_set():
            raise _Abandoned

    def serve() -> None:
        try:
            outcome.set_result(work(drawn()))
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        for text in texts:
            _put(ready, text, outcome, tick)
            tick()
            if outcome.done():  # it wants no more, or has failed
                return outcome.result()
        _put(ready, None, outcome, tick)
        while True:
            with suppress(TimeoutError):
                return outcome.result(TICK_SECONDS)
            if outcome.done():  # the work itself ended in a TimeoutError
                return outcome.result()
            tick()
    except BaseException:
        is_abandoned.set()
        _empty(ready)
        ready.put(None)
        thread.join(PATIENCE_SECONDS)
        raise


def _put(
    ready: "queue.Queue[str | None]", text: str | None, outcome: "Future[Result]", tick: Callable[[], None]
) -> None:
    while not outcome.done():
        with suppress(queue.Full):
            ready.put(text, timeout=TICK_SECONDS)
            return
        tick()


def _empty(ready: "queue.Queue[str | None]") -> None:
    with suppress(queue.Empty):
        while True:
            ready.get_nowait()
