"""The library as a whole: which level runs, every level against the same tests, threads, forks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmkit.errors import MissingError
from llmkit.kernels import library

FORCED = "LLMKIT_KERNELS"
ROOT = Path(__file__).resolve().parents[2]
LEVELS = ("portable", "avx2", "avx512", "avx512bf16", "neon")


def python(code: str, level: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != FORCED}
    if level is not None:
        env[FORCED] = level
    return subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("level", LEVELS)
def test_every_level_of_this_machine_passes_the_same_tests(level: str) -> None:
    if FORCED in os.environ:
        pytest.skip("this is that repetition")
    if level == library.level():
        pytest.skip("the level of this run")
    found = python("from llmkit.kernels.library import available; print(available())", level)
    if found.stdout != "True\n":
        pytest.skip(f"this machine or build has no {level}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(Path(__file__).parent), "-p", "no:cacheprovider", "-n", "0"],
        env={**os.environ, FORCED: level},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.usefixtures("native")
def test_the_level_is_the_one_that_was_asked_for() -> None:
    assert library.level() == os.environ.get(FORCED, library.level())
    assert library.why_not() is None


def test_off_is_no_library_and_says_so() -> None:
    done = python(
        "from llmkit.kernels.library import *\nprint(available(), why_not())\nlibrary()", level="off"
    )
    if "not built" in done.stdout:
        pytest.skip("the native library is not built")
    assert done.stdout == "False is switched off by LLMKIT_KERNELS, or lacks the level it names\n"
    assert "MissingError: the native library is switched off" in done.stderr


def test_without_the_file_the_note_s_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "none.so")
    monkeypatch.setattr(library, "read_note", lambda: {"reason": "no C++ compiler (g++)"})
    library._loaded.cache_clear()
    try:
        assert not library.available()
        assert library.why_not() == "not built: no C++ compiler (g++)"
        with pytest.raises(MissingError, match="the native library not built"):
            library.level()
    finally:
        library._loaded.cache_clear()


def test_a_library_of_another_version_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_native.so").write_bytes(b"not a library")
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "_native.so")
    library._loaded.cache_clear()
    try:
        assert str(library.why_not()).startswith("cannot be loaded: ")
        if Path("/lib/x86_64-linux-gnu/libm.so.6").exists():
            monkeypatch.setattr(library, "LIBRARY", Path("/lib/x86_64-linux-gnu/libm.so.6"))
            library._loaded.cache_clear()
            assert str(library.why_not()).startswith("is of another version: it lacks llmkit_")
    finally:
        library._loaded.cache_clear()


@pytest.mark.usefixtures("native")
def test_threads_are_as_many_as_set_and_all_processors_at_first() -> None:
    library.set_threads(3)
    assert library.threads() == 3
    library.set_threads(0)
    assert library.threads() == len(os.sched_getaffinity(0))


WORK = """
import os, time, numpy as np
from llmkit.kernels.library import set_threads
from tests.kernels.native.calls import matmul
from llmkit.kernels.packed import PackedFormat, pack
set_threads(2)
w = pack(np.ones((256, 256), np.float32), PackedFormat.FLOAT32)
x = np.ones((4, 256), np.float32)
assert (matmul(w, x) == 256).all()
"""


@pytest.mark.usefixtures("native")
def test_a_forked_child_has_its_own_threads() -> None:
    done = python(
        f"{WORK}\npid = os.fork()\nassert (matmul(w, x) == 256).all()\n"
        "if pid == 0: os._exit(7)\nprint(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    assert done.stdout == "7\n", done.stderr


@pytest.mark.usefixtures("native")
def test_idle_threads_sleep() -> None:
    done = python(
        f"{WORK}\ntime.sleep(0.05)\nbefore = time.process_time()\ntime.sleep(0.5)\n"
        "print(time.process_time() - before < 0.1)"
    )
    assert done.stdout == "True\n", done.stderr


@pytest.mark.usefixtures("native")
def test_calls_from_several_threads_take_turns() -> None:
    done = python(
        f"{WORK}\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    found = list(pool.map(lambda i: float(matmul(w, x * i).sum()), range(60)))\n"
        "print(found == [4.0 * 256 * 256 * i for i in range(60)])"
    )
    assert done.stdout == "True\n", done.stderr


RESIZED = """
import threading
done = False
def resize():
    number = 0
    while not done:
        number += 1
        set_threads(number % 4 + 1)
other = threading.Thread(target=resize)
other.start()
results = [(matmul(w, x) == 256).all() for _ in range(2000)]
done = True
other.join()
print(all(results))
"""


@pytest.mark.usefixtures("native")
def test_a_thread_may_set_another_number_while_a_kernel_works() -> None:
    done = python(f"{WORK}\n{RESIZED}")
    assert done.stdout == "True\n", done.stderr
