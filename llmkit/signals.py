"""Signals that end a command by an exception, and what could lose one.

An exception that a handler raises ends nothing where a library drops it. `import torch` loads NumPy from
inside of C code that does, unless NumPy is there already; Python itself does in callbacks of weak references,
which imports have. So NumPy comes first, and a handler keeps what came for whoever asks later.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec


class Ending:
    """A handler that ends the process: Ctrl-C as ever, others with 128 and their number.

    The stack is unwound, so that temporary files go. Of other signals than Ctrl-C a second cuts in nowhere:
    it is passed over, where SIG_IGN would be inherited by what an unwinding stack starts.
    """

    def __init__(self) -> None:
        self.came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        again, self.came = self.came, True
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if not again:
            raise SystemExit(128 + number)


def has_come(handler: object) -> bool:
    """Whether the signal of a handler came; if this goes on, what it raised was lost, or is under way."""
    return isinstance(handler, Ending) and handler.came


@contextmanager
def kept_interrupts() -> Iterator[None]:
    """Ctrl-C ends what is inside, as ever, and is kept too; where it does something else, it still does."""
    is_main = threading.current_thread() is threading.main_thread()  # no other may set handlers
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, Ending())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def numpy_before_torch() -> None:
    """From now on whatever imports torch imports NumPy before it; what imports none pays nothing."""
    if not any(isinstance(finder, _NumpyFirst) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NumpyFirst())


class _NumpyFirst:
    """Finds nothing, and is asked first."""

    def find_spec(self, name: str, path: object = None, target: object = None, /) -> "ModuleSpec | None":
        if name == "torch":
            import numpy  # noqa: F401
        return None
