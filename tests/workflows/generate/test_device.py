"""A device by its name, without torch where there is no GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmkit.engine.native.parts import device_kind
from llmkit.errors import ConfigError
from llmkit.workflows.generate import device
from llmkit.workflows.generate.device import (
    cpu_threads,
    device_memory_bytes,
    device_named,
    may_have_gpu,
)


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_gpu_that_is_hidden_is_not_looked_for(hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    monkeypatch.setattr(device, "_GPU_DRIVERS", ("/",))
    assert not may_have_gpu()


def test_a_driver_that_is_there_is_worth_to_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(device, "_GPU_DRIVERS", (str(tmp_path / "gone"),))
    assert may_have_gpu() is (sys.platform not in ("linux", "darwin"))
    monkeypatch.setattr(device, "_GPU_DRIVERS", (str(tmp_path / "gone"), str(tmp_path)))
    assert may_have_gpu() is (sys.platform != "darwin")


def test_a_name_that_is_no_device_s_is_refused_and_the_cpu_has_memory() -> None:
    with pytest.raises(ConfigError, match="no such device"):
        device_named("abacus")
    assert device_named("cpu") == "cpu" and device_kind("cuda:3") == "cuda"
    available = device_memory_bytes("cpu")
    assert available is None or available > 0


def test_threads_are_what_the_environment_says_else_no_more_than_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3,1")
    assert cpu_threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert 1 <= cpu_threads() <= len(os.sched_getaffinity(0))


def test_nobody_loads_torch_to_know_of_a_cpu() -> None:
    code = (
        "import sys; from llmkit.workflows.generate import device; device._GPU_DRIVERS = ();"
        "print(device.device_named('auto'), device.cpu_threads() > 0, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cpu", "True", "False"]
