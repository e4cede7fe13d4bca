"""The machine: its facts are the system's own, and each thing that stands in the way has a finding."""

import os
import sys
from typing import Any

import msgspec
import pytest

from llmkit.workflows.doctor.machine import PACKAGES, Machine, check_machine, read_machine

GOOD = Machine(
    llmkit="0.1.0",
    python="3.12.1",
    platform="Linux 6.1 x86_64",
    packages={**dict.fromkeys(PACKAGES, "1.0"), "torch": "2.13.0"},
    cores=8,
    cpu_quota=None,
    instruction_sets=["avx2", "fma"],
    memory_bytes=32 << 30,
    memory_available_bytes=16 << 30,
    disk_free_bytes=100 << 30,
    threads={},
    encoding="utf-8",
    nvidia_driver=None,
)


def test_a_good_machine_has_no_findings() -> None:
    assert check_machine(GOOD) == []


@pytest.mark.parametrize(
    ("check", "level", "change"),
    [
        ("python", "warning", {"python": "3.9.2"}),
        ("python", "warning", {"python": "3.14.0"}),
        ("packages", "error", {"packages": {**GOOD.packages, "torch": None}}),
        ("memory", "warning", {"memory_available_bytes": 100 << 20}),
        ("disk", "warning", {"disk_free_bytes": 5 << 20}),
        ("instructions", "warning", {"instruction_sets": ["sse2"]}),
        ("kernels", "info", {"why_no_kernels": "not built: no C++ compiler"}),
        ("threads", "info", {"threads": {"OMP_NUM_THREADS": "1"}}),
        ("threads", "info", {"cpu_quota": 1.5}),
        ("gpu", "warning", {"nvidia_driver": "550.1", "packages": {**GOOD.packages, "torch": "2.13.0+cpu"}}),
        ("gpu", "info", {"nvidia_driver": "550.1"}),
        ("locale", "info", {"encoding": "ascii"}),
    ],
)
def test_each_shortcoming_has_its_finding(check: str, level: str, change: dict[str, Any]) -> None:
    findings = check_machine(msgspec.structs.replace(GOOD, **change))
    assert [(one.check, one.level) for one in findings] == [(f"machine.{check}", level)]


def test_the_facts_are_the_systems() -> None:
    machine = read_machine()
    assert machine.python == sys.version.split()[0].rstrip("+")
    assert machine.cores == len(os.sched_getaffinity(0))
    import torch

    assert machine.packages["torch"] == torch.__version__
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert machine.memory_bytes is not None and 0 < machine.memory_bytes <= pages
    assert (
        machine.memory_available_bytes is not None and machine.memory_available_bytes <= machine.memory_bytes
    )
