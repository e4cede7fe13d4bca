"""Worker processes that answer bytes with bytes; one that dies is replaced and its task is given again.

Each worker is started afresh (spawn), imports what it needs by name, and leaves with its parent, however that
ends. A task is given to a worker only when it has nothing to do, so that the two never both wait to write.
An error in a task comes back as itself: the same class, message and hint.
"""

import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from llmkit.errors import LlmkitError, ResourceError, as_told

Handler = Callable[[bytes], bytes]
MOST_DEATHS = 3
"""Of workers on one task: then the task is the cause, and not chance."""


class Failure(msgspec.Struct, frozen=True):
    """An exception on its way from a worker."""

    kind: str
    problem: str
    hint: str = ""
    number: int = 0
    file: str | None = None


class _Worker:
    """One process and the task that it has."""

    def __init__(self, make: Callable[..., Handler], arguments: tuple[Any, ...]) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        with _main_left_out():
            self.process.start()
        theirs.close()
        self.number: int | None = None

    def give(self, number: int, task: bytes) -> None:
        self.number = number
        with suppress(OSError):  # it is dead already: found out when its answer is waited for
            self.pipe.send_bytes(task)

    def take(self) -> bytes | None:
        """Its answer; None where it died."""
        try:
            return self.pipe.recv_bytes()
        except (EOFError, OSError):
            self.process.join()
            return None

    def stop(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()
        self.process.close()


class WorkerPool:
    """Some workers with one handler each.

    Args:
        make: a function of a module; called in each worker with `arguments`, gives what answers tasks.
        arguments: plain values.
        workers: how many processes.
    """

    def __init__(self, make: Callable[..., Handler], arguments: tuple[Any, ...], *, workers: int) -> None:
        self._make = make
        self._arguments = arguments
        self._count = workers
        self._workers: list[_Worker] = []

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers = []

    def unordered(
        self, tasks: Iterable[bytes], *, name: Callable[[int], str] = str, ahead: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Answers with the numbers of their tasks, as they come.

        Args:
            tasks: read no further ahead than workers are free.
            name: what task number N is called in messages.
            ahead: how many tasks may be begun beyond those that were answered without a gap; None: any.

        Raises:
            LlmkitError, OSError, MemoryError: as raised by the handler.
            ResourceError: a task has killed `MOST_DEATHS` workers.
        """
        coming = enumerate(tasks)
        again: deque[int] = deque()
        given: dict[int, bytes] = {}
        deaths: dict[int, int] = {}
        answered: set[int] = set()
        first = 0  # the first that is not answered

        def next_task() -> tuple[int, bytes] | None:
            if again:
                return again[0], given[again.popleft()]
            if ahead is not None and len(answered) + len(given) >= ahead:
                return None
            return next(coming, None)

        while True:
            while self._has_room() and (following := next_task()) is not None:
                number, task = following
                given[number] = task
                self._free_worker().give(number, task)
            if not given:
                return
            busy = {worker.pipe: worker for worker in self._workers if worker.number is not None}
            for pipe in connection.wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                assert worker.number is not None
                number, answer = worker.number, worker.take()
                if answer is None:
                    deaths[number] = deaths.get(number, 0) + 1
                    self._bury(worker, name(number), deaths[number])
                    again.append(number)
                    continue
                worker.number = None
                del given[number]
                answered.add(number)
                while first in answered:
                    answered.remove(first)
                    first += 1
                yield number, checked_answer(answer)

    def ordered(self, tasks: Iterable[bytes], *, name: Callable[[int], str] = str) -> Iterator[bytes]:
        """Answers in the order of the tasks; a slow one holds up a few others. Raises as `unordered`."""
        waiting: dict[int, bytes] = {}
        due = 0
        for number, answer in self.unordered(tasks, name=name, ahead=3 * self._count):
            waiting[number] = answer
            while due in waiting:
                yield waiting.pop(due)
                due += 1

    def _has_room(self) -> bool:
        return len(self._workers) < self._count or any(one.number is None for one in self._workers)

    def _free_worker(self) -> _Worker:
        """One with nothing to do, a new one if need be."""
        for worker in self._workers:
            if worker.number is None:
                return worker
        self._workers.append(_Worker(self._make, self._arguments))
        return self._workers[-1]

    def _bury(self, worker: _Worker, name: str, deaths: int) -> None:
        status = worker.process.exitcode
        self._workers.remove(worker)
        worker.stop()
        if deaths == MOST_DEATHS:
            how = f"signal {-status}" if status is not None and status < 0 else f"status {status}"
            raise ResourceError(
                f"{name}: {deaths} workers died on it ({how})",
                hint="run fewer --workers if memory is short; dmesg tells whether the system killed them",
            )


def answer_or_failure(work: Callable[[], bytes]) -> bytes:
    """What `work` gives, behind a zero byte; behind a one its exception: see `checked_answer`."""
    try:
        return b"\0" + work()
    except LlmkitError as error:
        failure = Failure(type(error).__name__, error.problem, error.hint)
    except OSError as error:
        file = None if error.filename is None else str(error.filename)
        failure = Failure("OSError", error.strerror or str(error), number=error.errno or 0, file=file)
    except MemoryError:
        failure = Failure("MemoryError", "out of memory")
    except Exception:
        failure = Failure("RuntimeError", traceback.format_exc())
    return b"\1" + msgspec.json.encode(failure)


def checked_answer(answer: bytes) -> bytes:
    """The answer of a worker, or its exception raised here; see `answer_or_failure`."""
    if answer[:1] == b"\0":
        return answer[1:]
    failure = msgspec.json.decode(answer[1:], type=Failure)
    if failure.kind == "OSError":
        raise OSError(failure.number, failure.problem, failure.file)
    if failure.kind == "MemoryError":
        raise MemoryError
    if failure.kind == "RuntimeError":
        raise RuntimeError(f"in a worker:\n{failure.problem}")
    raise as_told(failure.kind, failure.problem, failure.hint)


@contextmanager
def _main_left_out() -> Iterator[None]:
    """Workers import what they do by name: the program that starts them need not be imported into each."""
    main = vars(sys.modules["__main__"])
    names: list[str] = [name for name in ("__file__", "__spec__") if name in main]
    kept = {name: main.pop(name) for name in names}
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(kept)


def _serve(pipe: Connection, make: Callable[..., Handler], arguments: tuple[Any, ...]) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C too, and ends its workers
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    handler: Handler | None = None

    def answer(task: bytes) -> bytes:
        nonlocal handler
        if handler is None:  # here, so that what `make` raises is an answer as well
            handler = make(*arguments)
        return handler(task)

    with suppress(EOFError, OSError):
        while True:
            task = pipe.recv_bytes()
            pipe.send_bytes(answer_or_failure(lambda task=task: answer(task)))  # type: ignore[misc]


def _leave_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
