"""The machine a measurement was taken on: the system's own words, and no place on it."""

import os
import platform
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llmkit.probe import environment
from llmkit.probe.environment import Environment, read_environment
from llmkit.version import __version__

CPUINFO = (
    "processor\t: 0\nmodel name\t: Fast: 9000 @ 3GHz\nflags\t: avx2\nprocessor\t: 1\nmodel name\t: Slow\n"
)


def test_python_and_packages_have_their_own_versions_and_absent_ones_none() -> None:
    found = read_environment("numpy", "no-such-package")
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert found.versions == {"llmkit": __version__, "numpy": np.__version__}


def test_cores_are_those_this_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert read_environment().cores == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert read_environment().cores == len(allowed)


def test_the_load_is_the_last_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.25, 7.0, 9.0))
    assert read_environment().load_average == 1.25


@pytest.mark.parametrize(
    ("cores", "load", "quiet"), [(1, 0.5, True), (1, 0.51, False), (8, 4.0, True), (8, 4.1, False)]
)
def test_half_the_cores_may_be_busy(cores: int, load: float, quiet: bool) -> None:
    assert Environment("x", cores, "3.11", {}, load).quiet is quiet


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (CPUINFO, "Fast: 9000 @ 3GHz"),
        ("processor\t: 0\nCPU part\t: 0xd0c\n", platform.processor() or platform.machine()),  # as on ARM
        (None, platform.processor() or platform.machine()),
    ],
)
def test_the_processor_is_named_by_the_system_or_by_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, name: str
) -> None:
    path = tmp_path / "cpuinfo"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(environment, "Path", lambda _: path)
    found = read_environment()
    assert found.cpu == name != ""
    assert found.features == (["avx2"] if name.startswith("Fast") else [])


def test_arm_calls_its_instruction_sets_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nFeatures\t: fp asimd sve bf16\n")
    monkeypatch.setattr(environment, "Path", lambda _: path)
    assert read_environment().features == ["asimd", "bf16", "sve"]


def test_system_and_memory_are_told() -> None:
    found = read_environment()
    assert found.platform == f"{platform.system()} {platform.machine()}"
    assert found.memory_bytes is None or found.memory_bytes > 1 << 20


def test_nothing_names_a_place_on_the_machine() -> None:
    shown = str(replace(read_environment("numpy"), cpu=""))
    assert str(Path.home()) not in shown and sys.prefix not in shown
