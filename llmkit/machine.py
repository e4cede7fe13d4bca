"""What this machine, or the container it is, still has: cores, memory, disk; what ends a process here.

GPUs are asked elsewhere.
"""

import os
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

from llmkit.errors import ResourceError

_PR_SET_PDEATHSIG = 1  # of prctl(2)
_CGROUP = Path("/sys/fs/cgroup")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def asked_threads(told: str | None) -> int | None:
    """Threads of a process as OMP_NUM_THREADS tells them, the first of its list; None where it says nothing.

    Args:
        told: the variable; None where it is not set.
    """
    asked = (told or "").partition(",")[0].strip()
    return int(asked) if asked.isdecimal() and int(asked) else None


def total_memory_bytes() -> int | None:
    """Memory in all; None where the system does not tell."""
    total, limit = _meminfo("MemTotal"), _limit()
    return total if total is None or limit is None else min(total, limit)


def available_memory_bytes() -> int | None:
    """Memory that this process can still get without swapping; None where the system does not tell."""
    available, limit = _meminfo("MemAvailable"), _limit()
    return available if available is None or limit is None else min(available, max(0, limit - _held()))


def peak_memory_bytes() -> int:
    """The most memory that this process has held so far.

    Linux's own figure in /proc begins with the program; `getrusage` begins with the one that started it.
    """
    for line in _read(Path("/proc/self/status")).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_bytes(path: Path) -> int:
    """Bytes that can be written where `path` is, or will be once its folders are made."""
    folder = path.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_room(path: Path, nbytes: int, *, hint: str) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        path: what is to be written.
        nbytes: that it takes.
        hint: what takes less.

    Raises:
        ResourceError: there is less.
    """
    free = free_bytes(path)
    if nbytes > free:
        raise ResourceError(f"{path}: takes {nbytes:,} bytes (found {free:,} free)", hint=hint)


def signal_name(number: int) -> str:
    """Its name; those of real time have none."""
    known = {one.value: one.name for one in signal.Signals}
    return known.get(number, f"signal {number}")


def end_with_parent(by: signal.Signals) -> bool:
    """Have the system end this process once the thread that started it is gone, as Linux alone does.

    Args:
        by: what is sent to this process then.

    Returns:
        Whether the system does that.
    """
    if sys.platform != "linux":
        return False
    import ctypes  # few processes need it

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)
    return True


def is_alive(pid: int) -> bool:
    """Whether there is a process of this number, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


def child_pids() -> list[int]:
    """Children of the main thread whose end nobody has read; none where the system does not tell."""
    pid = os.getpid()
    return [int(child) for child in _read(Path(f"/proc/{pid}/task/{pid}/children")).split()]


def is_stopped(pid: int, *, wait: bool = False) -> bool:
    """Whether a child is stopped, as by SIGSTOP; Linux alone is asked. How it ends is left to be read.

    Args:
        pid: of the child.
        wait: until it is, or has ended.
    """
    if sys.platform != "linux":
        return False
    how = os.WEXITED | os.WSTOPPED | os.WNOWAIT | (0 if wait else os.WNOHANG)
    try:
        found = os.waitid(os.P_PID, pid, how)
    except ChildProcessError:  # somebody has read it
        return False
    return found is not None and found.si_code == os.CLD_STOPPED


def started_at(pid: int) -> float | None:
    """When a process was started, in seconds since 1970; None where the system does not tell."""
    told = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    up = _read(Path("/proc/uptime")).split()
    if len(told) < 20 or not up:
        return None
    return time.time() - float(up[0]) + int(told[19]) / os.sysconf("SC_CLK_TCK")


def _meminfo(field: str) -> int | None:
    """A field of /proc/meminfo in bytes."""
    for line in _read(Path("/proc/meminfo")).splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return None


def _limit() -> int | None:
    """What a container may hold."""
    limit = _read(_CGROUP / "memory.max").strip()
    return int(limit) if limit.isdigit() else None


def _held() -> int:
    """What the container holds, without the file pages that it would give up."""
    used = _read(_CGROUP / "memory.current").strip()
    stat = dict(line.split(" ", 1) for line in _read(_CGROUP / "memory.stat").splitlines() if " " in line)
    return int(used or 0) - int(stat.get("inactive_file", 0))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
