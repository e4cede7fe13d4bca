"""The processes of --tp as the first of them has them: started, told, watched, ended together."""

import contextlib
import logging
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import msgspec
import torch

from llmkit.engine.native.weights import PackedModel
from llmkit.engine.parallel.group import GroupRanks
from llmkit.engine.parallel.mirror import Lead
from llmkit.errors import ResourceError, as_told
from llmkit.formats.frames import write_frame
from llmkit.machine import is_stopped
from llmkit.model.part import Part
from llmkit.model.transformer import Transformer
from llmkit.workflows.generate.job import Job
from llmkit.workflows.generate.placement import Placement, device_of
from llmkit.workflows.generate.rank import MEET, RankSettings, load_part

_WHY_SECONDS = 1.0
"""How long a pass that failed waits to hear which process is gone."""
_END_SECONDS = 3.0
STOPPED_SECONDS = 10.0
"""How long a process may be stopped: about as long as replicas of `serve` may say nothing."""
_LOOK_SECONDS = 0.1


class _Said(msgspec.Struct):
    """A process's line when it has its part, or cannot have it."""

    problem: str | None = None
    hint: str = ""
    kind: str = ""


class Processes:
    """See `Followers`. The end of one is the end of all, unless they were closed before.

    Attributes:
        processes: in the order of their parts.
    """

    def __init__(self, settings: Sequence[RankSettings]) -> None:
        """Start them.

        Args:
            settings: of each.
        """
        self._is_closed = False
        self._ending = threading.Lock()
        self._said: queue.SimpleQueue[_Said] = queue.SimpleQueue()
        self.processes = [self._start(one) for one in settings]
        for number, process in enumerate(self.processes, 1):
            threading.Thread(target=self._watch, args=(number, process), daemon=True).start()

    def wait(self) -> None:
        """Go on when each has its part.

        Raises:
            LlmkitError: one cannot have it, in its own words.
        """
        for _ in self.processes:
            said = self._said.get()
            if said.problem is not None:
                raise as_told(said.kind, said.problem, said.hint)

    def tell(self, message: bytes) -> None:
        """See `Followers.tell`."""
        for process in self.processes:
            assert process.stdin is not None
            try:
                write_frame(process.stdin, message)
            except OSError as error:
                self.lost(f"it cannot be told of a pass: {error}")

    def lost(self, reason: str) -> NoReturn:
        """See `Followers.lost`: the process ends here and now, as one that was killed would."""
        if self._is_closed:
            raise RuntimeError(reason)
        with self._ending:
            dead = self._first_dead()
            for process in self.processes:
                process.kill()
            logging.getLogger("llmkit.serve").error("--tp: %s; all of its processes end", dead or reason)
            os._exit(ResourceError.status)

    def close(self) -> None:
        """See `Followers.close`."""
        self._is_closed = True
        for process in self.processes:
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
        until = time.monotonic() + _END_SECONDS
        for process in self.processes:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, settings: RankSettings) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "llmkit.workflows.generate.rank"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C at a terminal is for the first
        )
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(settings) + b"\n")
        process.stdin.flush()
        return process

    def _watch(self, number: int, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        with process.stdout as stdout:
            line = stdout.readline()
        said = msgspec.json.decode(line, type=_Said) if line else _Said()
        if line:
            self._said.put(said)
        while is_stopped(process.pid, wait=True):
            self._let_go_on(number, process)
        code = process.wait()
        if said.problem is None and not self._is_closed:
            self.lost(f"process {number} ended with {code}")

    def _let_go_on(self, number: int, process: "subprocess.Popen[bytes]") -> None:
        """See that a stopped process is no more before long. Counted in looks: Ctrl-Z holds this one too."""
        for _ in range(round(STOPPED_SECONDS / _LOOK_SECONDS)):
            time.sleep(_LOOK_SECONDS)
            if not is_stopped(process.pid):
                return
        self.lost(f"process {number} is stopped (SIGSTOP)")

    def _first_dead(self) -> str | None:
        until = time.monotonic() + _WHY_SECONDS
        while time.monotonic() < until:
            for number, process in enumerate(self.processes, 1):
                if (code := process.poll()) is not None:
                    return f"process {number} ended with {code}"
            time.sleep(0.01)
        return None


class GroupProcesses(Processes):
    """Those that add up with this one, by its `ranks`."""

    def __init__(self, settings: Sequence[RankSettings], own: RankSettings) -> None:
        """
        Args:
            settings: of the others.
            own: of this one.
        """
        super().__init__(settings)
        self.ranks = GroupRanks(own.part, Path(own.store), torch.device(own.device))

    def close(self) -> None:
        super().close()
        self.ranks.close()


def start_parts(
    job: Job, placement: Placement, *, block_tokens: int, native: bool
) -> tuple[Transformer | PackedModel, Lead]:
    """The first part of a model, here; and the others, each in a process of its own.

    Args:
        job: the model.
        placement: how it runs.
        block_tokens: of the cache.
        native: whether the kernels compute.

    Returns:
        The model, packed where the kernels compute, and who leads the others.

    Raises:
        DataError, MissingError, ConfigError: see `load_model`.
    """
    _stay_on_this_machine()
    with tempfile.TemporaryDirectory(prefix="llmkit-") as folder:
        own, *others = (
            RankSettings(
                model=str(job.files.model),
                part=Part(index, job.config.tp),
                store=str(Path(folder) / "store"),
                device=device_of(placement.device, index),
                dtype=placement.dtype,
                rope_scaling=None if job.rope_scaling is None else dict(job.rope_scaling),
                threads=placement.threads,
                positions=placement.positions,
                block_tokens=block_tokens,
                kv_dtype=placement.kv_dtype,
                max_texts=placement.texts,
                native=native,
                weights=job.config.weights,
            )
            for index in range(job.config.tp)
        )
        processes = GroupProcesses(others, own)
        try:
            model = load_part(own, processes.ranks)
            processes.wait()
            processes.tell(MEET)
            processes.ranks.sum(torch.zeros(1, device=own.device))
        except BaseException:
            processes.close()
            raise
    return model, Lead(processes)


def _stay_on_this_machine() -> None:
    """Put sockets between the processes on the loopback: else they listen where the host's name points."""
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
    if loopback is not None:
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(variable, loopback)  # torch reads it there, and the others inherit it
