"""Who runs the units of a stage: this process, worker processes, or tasks on a Ray cluster.

All three call `complete_unit`, so a unit's files and its receipt have the same bytes whoever ran it.
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import MissingError, ResourceError, UsageError
from llmkit.workflows.units import Executor, ExecutorName, Receipt, Unit, UnitFunction, complete_unit
from llmkit.workflows.worker_pool import Handler, WorkerPool, answer_or_failure, checked_answer

MOST_LOSSES = 3
"""Times that Ray starts a task again whose worker was lost."""


class Inline:
    """One after another in this process."""

    def map(
        self, function: UnitFunction, units: Sequence[Unit], folder: Path, fingerprint: str
    ) -> Iterator[Receipt]:
        """The receipts, in order."""
        for unit in units:
            yield complete_unit(function, unit, folder, fingerprint)


class Processes:
    """In worker processes of this machine; a unit whose worker dies is done again."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def map(
        self, function: UnitFunction, units: Sequence[Unit], folder: Path, fingerprint: str
    ) -> Iterator[Receipt]:
        """The receipts as they come.

        Raises:
            ResourceError: one unit killed its worker three times.
        """
        workers = min(self._workers, len(units))
        with WorkerPool(unit_handler, (function, str(folder), fingerprint), workers=workers) as pool:
            tasks = map(_encode, units)
            for _, answer in pool.unordered(tasks, name=lambda number: units[number].name):
                yield msgspec.json.decode(answer, type=Receipt)


class Ray:
    """As Ray Core tasks, on the cluster that is running or that RAY_ADDRESS names, else on this machine.

    The folder has to be one that every machine of the cluster sees. Only units and receipts travel through
    Ray: documents are in files. A task whose worker is lost is started again.

    Args:
        workers: units that are done at a time.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def map(
        self, function: UnitFunction, units: Sequence[Unit], folder: Path, fingerprint: str
    ) -> Iterator[Receipt]:
        """The receipts as they come.

        Raises:
            ResourceError: one unit lost its worker again and again.
            MissingError: Ray is not installed.
        """
        ray = _import_ray()
        if not units:
            return
        is_ours = not ray.is_initialized()
        if is_ours:
            _start_ray(ray, self._workers)
        try:
            task = ray.remote(max_retries=MOST_LOSSES, num_cpus=1)(_answer_unit)
            coming = iter(units)
            running: dict[Any, str] = {}
            while True:
                for unit in islice(coming, self._workers - len(running)):
                    reference = task.remote(function, _encode(unit), str(folder), fingerprint)
                    running[reference] = unit.name
                if not running:
                    return
                for reference in ray.wait(list(running), num_returns=1)[0]:
                    name = running.pop(reference)
                    yield msgspec.json.decode(checked_answer(_get(ray, reference, name)), type=Receipt)
        finally:
            if is_ours:
                ray.shutdown()


def executor_of(name: ExecutorName, workers: int) -> Executor:
    """The executor of that name; inline when there is one worker and no cluster.

    Raises:
        MissingError: `ray` is not installed.
        UsageError: no such executor, or fewer than one worker.
    """
    if workers < 1:
        raise UsageError(f"--workers {workers}: at least one is needed", hint="--workers 1")
    if name == "ray":
        _import_ray()
        return Ray(workers)
    if name not in ("inline", "process"):
        raise UsageError(f"no executor is called {name!r}", hint="--executor process, or --executor ray")
    return Inline() if name == "inline" or workers == 1 else Processes(workers)


def _encode(unit: Unit) -> bytes:
    """As JSON, in which a file's name need not be UTF-8."""
    return json.dumps(msgspec.to_builtins(unit)).encode()


def unit_handler(function: UnitFunction, folder: str, fingerprint: str) -> Handler:
    """What a worker does with a unit that came as JSON: its receipt as JSON."""
    return partial(_complete, function, folder, fingerprint)


def _complete(function: UnitFunction, folder: str, fingerprint: str, task: bytes) -> bytes:
    unit = msgspec.convert(json.loads(task), Unit)
    return msgspec.json.encode(complete_unit(function, unit, Path(folder), fingerprint))


def _answer_unit(function: UnitFunction, task: bytes, folder: str, fingerprint: str) -> bytes:
    """A unit in a Ray worker: its receipt, or its error as an answer, which Ray would wrap in its own."""
    return answer_or_failure(lambda: _complete(function, folder, fingerprint, task))


def _get(ray: Any, reference: Any, name: str) -> bytes:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        raise ResourceError(
            f"{name}: Ray lost its worker {MOST_LOSSES + 1} times ({type(error).__name__})",
            hint="run fewer --workers if memory is short; ray status shows the cluster",
        ) from None


def _start_ray(ray: Any, workers: int) -> None:
    """Join the cluster of RAY_ADDRESS, or start one here without a dashboard."""
    try:
        ray.init(address="auto", log_to_driver=False)
    except ConnectionError:
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="warning")


def _import_ray() -> Any:
    try:
        import ray  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise MissingError("--executor ray needs ray", hint="pip install 'llmkit[ray]'") from None
    return ray
