"""What the machine can do: the device, the arithmetic that is faster on it, its peak, its memory."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from llmkit import machine
from llmkit.errors import ConfigError, MissingError
from llmkit.kernels.library import available, set_threads, threads

if TYPE_CHECKING:
    from llmkit.train.config import DtypeName

GPU_PEAK_FLOPS = {  # dense bfloat16 with float32 sums, from the vendors' data sheets
    "B200": 2250e12,
    "GH200": 989e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}
_BFLOAT16_MIN_WIDTH = 256
"""Of a model on a CPU: from here on an update takes half of the time, below it less is won (tests/bench)."""
_FLOAT8_CAPABILITY = (8, 9)
"""Of the first GPUs with units for float8: Ada and Hopper."""
_MATRIX = 768
_TRIALS = 5


@dataclass(frozen=True)
class Peak:
    """The floating-point operations a second that MFU is a share of."""

    flops_per_second: float
    source: str
    """Where the figure comes from: `measured matmul float32`, or the data sheet of a GPU."""


def choose_device(name: str) -> torch.device:
    """`auto` is a CUDA GPU where there is one, else the CPU.

    Raises:
        ConfigError: no such device type.
        MissingError: the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise ConfigError(
            f"--device {name}: no such device (known: auto, cpu, cuda, cuda:N)", hint="--device auto"
        )
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise MissingError(
            f"--device {name}: not there (found {torch.cuda.device_count()} GPUs)", hint="--device cpu"
        )
    return torch.device(name)


def choose_dtype(name: "DtypeName", device: torch.device, hidden_size: int) -> str:
    """Of the arithmetic. `auto` is bfloat16 where that is faster.

    That is a rule, not a measurement, so that a run gets the same arithmetic every time: a GPU that has
    bfloat16, or a CPU that has instructions for its products (AVX-512's, AMX) and matrices wide enough.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if hidden_size >= _BFLOAT16_MIN_WIDTH and _multiplies_bfloat16() else "float32"


def check_float8(device: torch.device) -> None:
    """Refuse a GPU that has no float8. A CPU has it, at a tenth of bfloat16's speed: for trying out.

    Raises:
        MissingError: the GPU is too old.
    """
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < _FLOAT8_CAPABILITY:
        raise MissingError(
            f"--fp8: {torch.cuda.get_device_name(device)} has no float8 products", hint="leave --fp8 out"
        )


def choose_threads(asked: int | None, available: int, flops_per_pass: float) -> int:
    """CPU threads: one where a forward and backward pass is too little work to share, else all cores."""
    if asked is not None:
        return asked
    return 1 if flops_per_pass < 2e8 else available


@contextmanager
def threads_set(count: int) -> Iterator[None]:
    """So many threads for PyTorch and the kernels, as long as it lasts."""
    before, kernels_before = torch.get_num_threads(), threads() if available() else 0
    torch.set_num_threads(count)
    if available():
        set_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if available():
            set_threads(kernels_before)


def measure_peak(device: torch.device, dtype: str) -> Peak:
    """The data sheet's peak of a known GPU, else the best of a few matrix products (some milliseconds).

    bfloat16 widens where a CPU has no instructions for it, so that its peak is then what float32 reaches.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for model, flops in GPU_PEAK_FLOPS.items():
            if model in name and dtype == "bfloat16":
                return Peak(flops, f"data sheet of {model}, dense bfloat16")
    name = "bfloat16" if dtype == "bfloat16" and not is_emulated(device, dtype) else "float32"
    n = _MATRIX if device.type == "cpu" else 8192
    a = torch.randn(n, n, generator=torch.Generator().manual_seed(0)).to(
        device, getattr(torch, name)
    )  # ones take less power
    best = min(_seconds_of(a) for _ in range(_TRIALS))
    return Peak(2 * n**3 / best, f"measured matmul {name}, {n} x {n}")


def is_emulated(device: torch.device, dtype: str) -> bool:
    """Whether PyTorch multiplies in a dtype that this CPU has no instructions for: tens of times slower."""
    return device.type == "cpu" and dtype == "bfloat16" and not _multiplies_bfloat16()


def used_memory_bytes(device: torch.device) -> int:
    """The most memory this process has held: on the GPU it trains on, else in RAM."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return machine.peak_memory_bytes()


def available_memory_bytes(device: torch.device) -> int | None:
    """Memory that can still be had; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return machine.available_memory_bytes()


def _seconds_of(a: torch.Tensor) -> float:
    if a.device.type == "cuda":
        torch.cuda.synchronize(a.device)
    start = time.perf_counter()
    a @ a
    if a.device.type == "cuda":
        torch.cuda.synchronize(a.device)
    return time.perf_counter() - start


def _multiplies_bfloat16() -> bool:
    """Whether the CPU does, and need not go by way of float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
