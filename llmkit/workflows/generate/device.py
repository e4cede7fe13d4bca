"""Where a model writes: a device by its name, and threads. torch is loaded only where there may be a GPU."""

import os
import sys
from pathlib import Path

from llmkit import machine
from llmkit.engine.native.parts import device_kind

_GPU_DRIVERS = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/kfd", "/dev/dxg")
"""Of NVIDIA, of AMD, and of Windows for its Linux."""


def device_named(asked: str) -> str:
    """`auto` is a GPU where there is one, else the CPU.

    Raises:
        ConfigError: no such device type.
        MissingError: the device is not there.
    """
    if asked == "cpu" or (asked == "auto" and not may_have_gpu()):
        return "cpu"
    from llmkit.train.hardware import choose_device

    return str(choose_device(asked))


def device_memory_bytes(device: str) -> int | None:
    """Memory that can still be had; None where the system does not tell."""
    if device_kind(device) == "cpu":
        return machine.available_memory_bytes()
    import torch

    from llmkit.train.hardware import available_memory_bytes

    return available_memory_bytes(torch.device(device))


def may_have_gpu() -> bool:
    """Whether it is worth while to load torch and ask: the driver of a GPU is here, and not hidden."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return sys.platform != "darwin" and (sys.platform != "linux" or any(map(os.path.exists, _GPU_DRIVERS)))


def cpu_threads() -> int:
    """Threads for arithmetic: as many as OMP_NUM_THREADS says, else one for each physical core."""
    asked = machine.asked_threads(os.environ.get("OMP_NUM_THREADS"))
    if asked is not None:
        return asked
    if not hasattr(os, "sched_getaffinity"):
        return machine.cores()
    return len({_siblings(one) for one in os.sched_getaffinity(0)})


def _siblings(cpu: int) -> str:
    """What tells a physical core from others."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    return path.read_text() if path.exists() else str(cpu)
