"""The machine: Python and its packages, cores, memory, disk, instruction sets, a graphics card.

Nothing here imports torch: versions come from the installed metadata, the rest from the system's files.
"""

import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from llmkit.kernels.library import HINT, available, level, why_not
from llmkit.machine import available_memory_bytes, cores, free_bytes, total_memory_bytes
from llmkit.workflows.doctor.findings import Finding, Level, finding

PACKAGES = (
    *("torch", "numpy", "tokenizers", "safetensors", "zstandard", "msgspec", "xxhash", "jinja2"),
    *("typer", "rich"),
)
OPTIONAL_PACKAGES = ("sentencepiece", "llguidance", "triton")
PYTHON_FROM, PYTHON_BELOW = (3, 11), (3, 14)
LITTLE_MEMORY_BYTES = 2 << 30
LITTLE_DISK_BYTES = 1 << 30
_INSTRUCTION_SETS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_bf16",
    "avx512_vnni",
    "amx_bf16",
    "asimd",
    "bf16",
    "sve",
)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to work with."""

    llmkit: str
    python: str
    platform: str
    packages: dict[str, str | None]
    """Installed versions; None where a package is missing."""
    cores: int
    """Cores that this process may use."""
    cpu_quota: float | None
    """Cores' worth of time that a container grants; None where there is no limit."""
    instruction_sets: list[str]
    memory_bytes: int | None
    """Physical memory, or what a container grants."""
    memory_available_bytes: int | None
    disk_free_bytes: int
    """On the file system of the current folder."""
    threads: dict[str, str]
    """Environment variables that set how many threads are used."""
    encoding: str
    nvidia_driver: str | None
    kernels: str | None = None
    """The instruction-set level that the native kernels run at; None where they are not there."""
    why_no_kernels: str | None = None


def read_machine() -> Machine:
    """The facts, read from the system."""
    return Machine(
        llmkit=_version("llmkit") or "not installed",
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        packages={name: _version(name) for name in (*PACKAGES, *OPTIONAL_PACKAGES)},
        cores=cores(),
        cpu_quota=_cpu_quota(),
        instruction_sets=_instruction_sets(),
        memory_bytes=total_memory_bytes(),
        memory_available_bytes=available_memory_bytes(),
        disk_free_bytes=free_bytes(Path()),
        threads={
            name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ
        },
        encoding=sys.getfilesystemencoding(),
        nvidia_driver=_nvidia_driver(),
        kernels=level() if available() else None,
        why_no_kernels=why_not(),
    )


def check_machine(machine: Machine) -> list[Finding]:
    """What of a machine stands in the way."""
    findings: list[Finding] = []

    def found(level: Level, check: str, what: str, hint: str) -> None:
        findings.append(finding(level, f"machine.{check}", "machine", what, hint))

    python = tuple(int(part) for part in machine.python.split(".")[:2])
    if not PYTHON_FROM <= python < PYTHON_BELOW:
        found("warning", "python", f"Python {machine.python} is not tested", "use Python 3.11 to 3.13")
    for name in PACKAGES:
        if machine.packages.get(name) is None:
            found("error", "packages", f"{name} is not installed", f"pip install {name}")
    if machine.memory_available_bytes is not None and machine.memory_available_bytes < LITTLE_MEMORY_BYTES:
        mebibytes = machine.memory_available_bytes >> 20
        found(
            "warning",
            "memory",
            f"only {mebibytes} MiB of memory is free",
            "close something, or train smaller",
        )
    if machine.disk_free_bytes < LITTLE_DISK_BYTES:
        mebibytes = machine.disk_free_bytes >> 20
        found(
            "warning",
            "disk",
            f"only {mebibytes} MiB of disk is free here",
            "free some space, or write elsewhere",
        )
    if machine.platform.endswith("x86_64") and "avx2" not in machine.instruction_sets:
        found("warning", "instructions", "this CPU has no AVX2: training will be slow", "use another machine")
    if machine.why_no_kernels is not None:
        found(
            *("info", "kernels"),
            f"generating, training and cleaning are slower here: the native library {machine.why_no_kernels}",
            HINT,
        )
    _check_threads(machine, found)
    if machine.nvidia_driver and "+cpu" in (machine.packages.get("torch") or ""):
        found(
            "warning",
            "gpu",
            f"torch {machine.packages['torch']} is built for CPUs, and an NVIDIA card is here",
            "pip install --force-reinstall torch",
        )
    elif machine.nvidia_driver and machine.packages.get("triton") is None:
        found(
            "info", "gpu", "generate runs slower on this GPU: Triton is not installed", "pip install triton"
        )
    if machine.encoding.lower().replace("-", "") != "utf8":
        found("info", "locale", f"file names are {machine.encoding}, not UTF-8", "export LC_ALL=C.UTF-8")
    return findings


def _check_threads(machine: Machine, found: Callable[[Level, str, str, str], None]) -> None:
    for name, value in machine.threads.items():
        if not value.isdigit() or int(value) != machine.cores:
            what = f"{name}={value}, and {machine.cores} cores may be used"
            found("info", "threads", what, f"unset {name}, if that was not meant")
    if machine.cpu_quota is not None and machine.cpu_quota < machine.cores and not machine.threads:
        what = f"{machine.cores} cores are seen, but time is granted for {machine.cpu_quota:g}"
        found("info", "threads", what, f"export OMP_NUM_THREADS={max(1, int(machine.cpu_quota))}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _instruction_sets() -> list[str]:
    """The ones that matter here, from Linux's list of the CPU's flags; empty on other systems."""
    for line in _read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            flags = set(value.split())
            return [flag for flag in _INSTRUCTION_SETS if flag in flags]
    return []


def _cpu_quota() -> float | None:
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").strip().partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _nvidia_driver() -> str | None:
    """The version of the kernel's driver, where one is loaded."""
    first = _read("/proc/driver/nvidia/version").partition("\n")[0]
    return next((word for word in first.split() if word[:1].isdigit() and "." in word), None)
