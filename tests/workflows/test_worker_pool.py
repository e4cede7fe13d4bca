"""Workers: answers in order, errors as themselves, deaths noticed and mended."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path

import pytest

from llmkit.errors import DataError, ResourceError
from llmkit.workflows.worker_pool import WorkerPool


def reverser(delay: float = 0) -> Callable[[bytes], bytes]:
    """Answers with the task backwards; short tasks take longest."""

    def answer(task: bytes) -> bytes:
        time.sleep(delay / len(task))
        return task[::-1]

    return answer


def failing() -> Callable[[bytes], bytes]:
    def answer(task: bytes) -> bytes:
        if task == b"data":
            raise DataError("a.jsonl:3: bad", hint="mend it")
        if task == b"disk":
            raise OSError(errno.ENOSPC, "No space left on device", "out")
        if task == b"memory":
            raise MemoryError
        raise ZeroDivisionError("in the handler")

    return answer


def dying(folder: str) -> Callable[[bytes], bytes]:
    """Kills its own process on `once` the first time, on `always` each time."""

    def answer(task: bytes) -> bytes:
        mark = Path(folder, task.decode())
        if task == b"always" or (task == b"once" and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return task

    return answer


def broken() -> Callable[[bytes], bytes]:
    raise DataError("no rules", hint="name some")


def test_answers_come_in_the_order_of_the_tasks_and_tasks_are_read_only_a_little_ahead() -> None:
    read = 0

    def tasks() -> Iterator[bytes]:
        nonlocal read
        for number in count():
            read += 1
            yield b"ab" * (1 + number % 5)

    with WorkerPool(reverser, (0.01,), workers=2) as pool:
        answers = list(islice(pool.ordered(tasks()), 20))
    assert answers == [b"ba" * (1 + number % 5) for number in range(20)]
    assert read <= 20 + 6


def test_large_tasks_and_answers_pass() -> None:
    with WorkerPool(reverser, (), workers=1) as pool:
        assert [len(answer) for answer in pool.ordered([b"x" * (3 << 20)] * 3)] == [3 << 20] * 3


def test_errors_of_a_handler_come_back_as_themselves() -> None:
    def of(task: bytes) -> BaseException:
        with WorkerPool(failing, (), workers=1) as pool, pytest.raises(Exception) as caught:
            list(pool.ordered([task]))
        return caught.value

    error = of(b"data")
    assert isinstance(error, DataError) and (error.problem, error.hint) == ("a.jsonl:3: bad", "mend it")
    full = of(b"disk")
    assert isinstance(full, OSError) and (full.errno, full.filename) == (errno.ENOSPC, "out")
    assert isinstance(of(b"memory"), MemoryError)
    assert "ZeroDivisionError: in the handler" in str(of(b"bug"))


def test_the_program_that_starts_workers_is_not_run_in_them(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import sys\n"
        "from llmkit.workflows.worker_pool import WorkerPool\n"
        "from tests.workflows.test_worker_pool import reverser\n"
        "print('started')\n"  # nothing keeps this from running where the program is imported
        "with WorkerPool(reverser, (), workers=1) as pool:\n"
        "    print(*pool.ordered([b'ab', b'cd']), __file__)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"started\nb'ba' b'dc' {script}\n", "")


def test_an_error_in_making_the_handler_is_an_answer_too() -> None:
    with WorkerPool(broken, (), workers=1) as pool, pytest.raises(DataError, match="no rules"):
        list(pool.ordered([b"task"]))


def test_a_task_whose_worker_was_killed_is_done_again(tmp_path: Path) -> None:
    with WorkerPool(dying, (str(tmp_path),), workers=2) as pool:
        assert list(pool.ordered([b"one", b"once", b"two", b"three"])) == [b"one", b"once", b"two", b"three"]
    assert (tmp_path / "once").exists()


def test_a_task_that_kills_every_worker_is_named(tmp_path: Path) -> None:
    with (
        WorkerPool(dying, (str(tmp_path),), workers=2) as pool,
        pytest.raises(ResourceError, match=r"unit 1: 3 workers died on it \(signal 9\)"),
    ):
        list(pool.ordered([b"one", b"always", b"two"], name=lambda number: f"unit {number}"))
