"""What the machine has, against the kernel's own words and a container's limit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmkit import machine
from llmkit.errors import ResourceError
from llmkit.machine import (
    asked_threads,
    available_memory_bytes,
    child_pids,
    cores,
    free_bytes,
    is_alive,
    is_stopped,
    peak_memory_bytes,
    require_room,
    signal_name,
    started_at,
    total_memory_bytes,
)

MEMINFO = "MemTotal:       16000000 kB\nMemAvailable:    8000000 kB\n"


def _files(monkeypatch: pytest.MonkeyPatch, **files: str) -> None:
    contents = {"/proc/meminfo": MEMINFO, **{f"/sys/fs/cgroup/{name}": text for name, text in files.items()}}
    monkeypatch.setattr(machine, "_read", lambda path: contents.get(str(path), ""))


def test_it_is_what_the_kernel_calls_available(monkeypatch: pytest.MonkeyPatch) -> None:
    _files(monkeypatch)
    assert available_memory_bytes() == 8_000_000 * 1024
    _files(monkeypatch, **{"memory.max": "max\n"})
    assert available_memory_bytes() == 8_000_000 * 1024


def test_a_container_grants_its_limit_less_what_it_cannot_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = {
        "memory.max": "1000000\n",
        "memory.current": "700000\n",
        "memory.stat": "anon 1\ninactive_file 300000\n",
    }
    _files(monkeypatch, **limit)
    assert available_memory_bytes() == 600_000
    assert total_memory_bytes() == 1_000_000


def test_it_is_unknown_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_read", lambda path: "")
    assert available_memory_bytes() is None and total_memory_bytes() is None


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="no /proc here")
def test_this_machine_has_some_and_no_more_than_all_of_it() -> None:
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = available_memory_bytes()
    assert available is not None
    assert 0 < available <= int(lines["MemTotal"].split()[0]) * 1024


def test_the_peak_is_what_a_program_has_held_whatever_started_it() -> None:
    script = (
        "from llmkit.machine import peak_memory_bytes as peak\n"
        "before = peak(); held = bytearray(b'x') * (200 << 20); del held; print(before, peak())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before < 100 << 20
    assert 190 << 20 < after - before < 260 << 20


def test_without_proc_the_systems_own_figure_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_read", lambda path: "")
    assert peak_memory_bytes() >= 10 << 20


def test_a_path_that_is_not_there_yet_has_the_room_of_the_folder_it_will_be_in(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    found = free_bytes(tmp_path / "a" / "b" / "out")
    assert abs(found - disk.f_bavail * disk.f_frsize) < 1 << 30  # others write too


def test_what_the_disk_has_no_room_for_is_refused_with_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmkit.machine.free_bytes", lambda path: 1000)
    require_room(tmp_path / "out", 1000, hint="less")
    with pytest.raises(ResourceError, match=r"out: takes 1,001 bytes \(found 1,000 free\)"):
        require_room(tmp_path / "out", 1001, hint="less")


def test_cores_are_those_that_this_process_may_use() -> None:
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import llmkit.machine as machine; print(machine.cores())"
    )
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system does not bind processes to cores")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n" and cores() >= 1


@pytest.mark.parametrize(
    ("told", "threads"),
    [
        ("4", 4),
        ("4,2", 4),
        (" 3 , 1", 3),
        ("", None),
        ("0", None),
        ("-2", None),
        ("many", None),
        (None, None),
    ],
)
def test_threads_are_the_first_of_the_list_that_openmp_is_told(told: str | None, threads: int | None) -> None:
    assert asked_threads(told) == threads


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell that a parent ended")
def test_what_ends_a_process_with_its_parent_is_the_signal_that_was_asked_for() -> None:
    script = (  # prctl(2): PR_GET_PDEATHSIG is 2
        "import ctypes, signal; from llmkit.machine import end_with_parent; told = ctypes.c_int()\n"
        "done = end_with_parent(signal.SIGTERM); ctypes.CDLL(None).prctl(2, ctypes.byref(told))\n"
        "print(done, told.value)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True 15\n"


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    assert signal_name(9) == "SIGKILL"
    assert signal_name(40) == "signal 40", "of real time"


def test_a_process_was_started_when_its_starter_did_it() -> None:
    before = time.time()
    with subprocess.Popen(["sleep", "60"]) as child:
        found = started_at(child.pid)
        child.kill()
    assert found is not None and before - 0.1 <= found <= time.time() + 0.1
    assert started_at(2**22 + 1) is None


def test_a_process_is_alive_until_it_has_ended() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert is_alive(os.getpid()) and not is_alive(ended.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone is asked")
def test_a_child_is_stopped_until_it_goes_on_and_its_end_is_left_to_be_read() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        assert not is_stopped(child.pid)
        child.send_signal(signal.SIGSTOP)
        assert is_stopped(child.pid, wait=True) and is_stopped(child.pid)
        child.send_signal(signal.SIGCONT)
        while is_stopped(child.pid):
            time.sleep(0.01)
        child.kill()
        assert not is_stopped(child.pid, wait=True)
        assert child.wait() == -signal.SIGKILL
    assert not is_stopped(child.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells")
def test_children_are_those_of_this_process_until_their_end_is_read() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        assert child.pid in child_pids()
        child.kill()
    assert child.pid not in child_pids()


def test_a_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(machine.os, "kill", refuse)
    assert is_alive(1)
