"""Signals that end a command, wherever they come."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from llmkit.signals import Ending, has_come, kept_interrupts, numpy_before_torch


def test_the_first_ends_the_process_and_others_cut_in_nowhere() -> None:
    handler = Ending()
    assert not has_come(handler)
    with pytest.raises(SystemExit, match="143"):
        handler(signal.SIGTERM, None)
    assert has_come(handler) and not has_come(signal.SIG_DFL)
    handler(signal.SIGTERM, None)


def test_ctrl_c_is_kept_and_ends_what_runs_each_time() -> None:
    before = signal.getsignal(signal.SIGINT)
    with kept_interrupts():
        handler = signal.getsignal(signal.SIGINT)
        assert not has_come(handler)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert has_come(handler)
    assert signal.getsignal(signal.SIGINT) is before is signal.default_int_handler


def test_a_ctrl_c_that_means_something_else_still_does() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with kept_interrupts():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_thread_sets_no_handlers() -> None:
    seen = []

    def work() -> None:
        with kept_interrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


@pytest.mark.parametrize("module", ["numpy", "numpy._core.multiarray", "numpy._core.umath", "numpy.linalg"])
def test_no_signal_is_lost_while_numpy_is_loaded_for_torch(
    signalled_at: Callable[[str, int], dict[str, str]], module: str
) -> None:
    program = """if True:
        import signal
        from llmkit.signals import Ending, numpy_before_torch
        numpy_before_torch()
        signal.signal(signal.SIGTERM, Ending())
        import torch
        print("lost")"""
    environment = signalled_at(module, signal.SIGTERM)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (143, b"", b"")


def test_numpy_is_asked_for_by_torch_alone_and_one_finder_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    numpy_before_torch()
    first = list(sys.meta_path)
    numpy_before_torch()
    assert sys.meta_path == first
    monkeypatch.setitem(sys.modules, "numpy", None)  # an import of it fails
    assert first[0].find_spec("tokenizers", None) is None
    with pytest.raises(ImportError):
        first[0].find_spec("torch", None)
