"""Starting the processes of a run on this machine, by torchrun's launcher, and again when one was lost."""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llmkit.errors import StoppedResumable
from llmkit.machine import asked_threads, cores, end_with_parent, is_alive, signal_name
from llmkit.workflows.run.again import AGAIN
from llmkit.workflows.run.ranks import RESTARTS, STATUS, LostProcess
from llmkit.workflows.run.stopped import STOPPED_SECONDS, stopped_are_ended

MODULE = "llmkit"
LAUNCHER = "LLMKIT_LAUNCHER"
"""Tells a process who launched it."""
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
SAVE_SECONDS = 600
"""For a checkpoint, when the processes are asked to stop; then they are killed."""


def launch(arguments: Sequence[str], processes: int, *, max_restarts: int) -> int:
    """Run `llmkit ARGUMENTS` in so many processes, and wait for them.

    SIGINT, SIGTERM and SIGHUP are passed on. What the first process writes is what is seen.

    Args:
        arguments: of each.
        processes: how many.
        max_restarts: how often all are started anew because one was lost. An error would come again; that is
            why the launcher's own restarts, which know no difference, are not used.

    Returns:
        The exit status of the first process.

    Raises:
        StoppedResumable: a process was killed, or stopped for long, more often than it was to be restarted.
        SystemExit: a signal came before the first process could say anything.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException

    with (
        tempfile.TemporaryDirectory(prefix="llmkit-") as folder,
        _environment(Path(folder), processes) as status,
    ):
        try:
            for restarts in range(max_restarts + 1):
                os.environ[RESTARTS] = str(restarts)
                status.unlink(missing_ok=True)
                failed = _attempt(arguments, processes)
                if failed is None:
                    return 0
                rank, code, was_stopped = failed
                if not _is_loss(code, status):
                    break
        except SignalException as stop:
            if stop.sigval != signal.SIGINT and not status.is_file():
                raise SystemExit(128 + stop.sigval) from None
            return _read(status, 128 + stop.sigval)
        if code < 0:
            how = f"was ended by {signal_name(-code)}"
            if was_stopped:
                how = f"was stopped (SIGSTOP), and ended after {STOPPED_SECONDS:g} s in which others went on"
            raise StoppedResumable(
                f"process {rank} of {processes} {how}",
                hint=f"{AGAIN}, or let it be restarted: --max-restarts 3",
            )
        return _read(status, code)


def _attempt(arguments: Sequence[str], processes: int) -> tuple[int, int, bool] | None:
    """Start the processes and wait for them.

    Returns:
        Of the first that failed: its number, its exit status, and whether it was ended for being stopped.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=str(os.getpid()),
        max_restarts=0,
        shutdown_timeout=SAVE_SECONDS,
    )
    ignored = signal.SIGHUP if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else None  # under nohup
    config.signals_to_handle = ",".join(one.name for one in PASSED_ON if one != ignored)
    with stopped_are_ended() as ended:
        try:
            elastic_launch(config, sys.executable)("-m", MODULE, *arguments)
        except ChildFailedError as failed:
            rank, failure = failed.get_first_failure()
            return rank, failure.exitcode, failure.pid in ended
    return None


def _is_loss(code: int, status: Path) -> bool:
    """Whether a failure is that a process was lost: by a signal, or found lost by another one."""
    return code < 0 or (code == LostProcess.status and not status.is_file())


def follow_launcher() -> None:
    """Have the system end this process, as by SIGTERM, once the one that launched it is gone.

    Linux alone does that: when the thread that started this process ends, here the launcher's main one.
    """
    launcher = os.environ.pop(LAUNCHER, None)  # what this process starts is not the launcher's
    if launcher is None or not end_with_parent(signal.SIGTERM):
        return
    if not is_alive(int(launcher)):  # it was gone before
        signal.raise_signal(signal.SIGTERM)


def threads_of(processes: int) -> int:
    """CPU threads of each of so many processes, where the environment says nothing else."""
    return asked_threads(os.environ.get("OMP_NUM_THREADS")) or max(1, cores() // processes)


@contextmanager
def _environment(folder: Path, processes: int) -> Iterator[Path]:
    """What the processes are told; gives the file that the first leaves its status in.

    The launcher's own log lines are kept back: what went wrong is told by the first process, or here. Its
    handlers of signals, which it leaves behind, are not.
    """
    before, status = dict(os.environ), folder / "status"
    handlers = {number: signal.getsignal(number) for number in PASSED_ON}
    os.environ[STATUS] = str(status)
    os.environ[LAUNCHER] = str(os.getpid())
    os.environ["OMP_NUM_THREADS"] = str(threads_of(processes))
    logging.disable(logging.CRITICAL)
    try:
        yield status
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        logging.disable(logging.NOTSET)
        os.environ.clear()
        os.environ.update(before)


def _read(path: Path, otherwise: int) -> int:
    return int(path.read_text()) if path.is_file() else otherwise
