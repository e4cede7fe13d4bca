"""The model of `llmkit generate`: where and how it runs, what that takes, and its weights, read."""

from dataclasses import dataclass

import torch

from llmkit.engine.decode import Engine
from llmkit.errors import ResourceError
from llmkit.estimate.kv import kv_cache_bytes
from llmkit.estimate.weights import predict_weights
from llmkit.model.load import DTYPES, dtype_of, load_model
from llmkit.train.hardware import available_memory_bytes, choose_device
from llmkit.workflows.generate_job import Job

ONE_THREAD_BYTES = 16_000_000
"""Weights below this are read by one thread quicker than two threads meet."""
_RUNTIME_BYTES = {"cpu": 280_000_000, "cuda": 500_000_000}
"""Memory of a process that has loaded torch and no model."""


@dataclass(frozen=True)
class Placement:
    """How a job's model runs."""

    device: torch.device
    dtype: torch.dtype
    threads: int
    weight_bytes: int
    kv_bytes: int
    """Of the cache for the longest text asked for."""

    @property
    def memory_bytes(self) -> int:
        """What the process takes, about."""
        return _RUNTIME_BYTES[self.device.type] + self.weight_bytes + self.kv_bytes


def place(job: Job, positions: int) -> Placement:
    """Decide how the model runs.

    Args:
        job: which model, and what was asked for.
        positions: that the cache must hold.

    Raises:
        ConfigError, MissingError: no such device.
        ResourceError: not enough memory.
    """
    device = choose_device(job.config.device)
    stored = dtype_of(job.model)
    dtype = stored if job.config.dtype == "auto" else DTYPES[job.config.dtype]
    weight_bytes = predict_weights(job.model, str(dtype).removeprefix("torch.")).nbytes
    placement = Placement(
        device=device,
        dtype=dtype,
        threads=job.config.threads or (1 if weight_bytes < ONE_THREAD_BYTES else torch.get_num_threads()),
        weight_bytes=weight_bytes,
        kv_bytes=kv_cache_bytes(job.model, batch=1, context=positions, bytes_per_value=dtype.itemsize),
    )
    available = available_memory_bytes(device)
    if available is not None and placement.memory_bytes > available:
        raise ResourceError(
            f"{job.files.model}: takes about {placement.memory_bytes:,} bytes of memory, "
            f"{placement.kv_bytes:,} of them for the cache (found {available:,} available)",
            hint="--dtype bfloat16, fewer --max-tokens, or a smaller model",
        )
    return placement


def start_engine(job: Job, placement: Placement) -> Engine:
    """Read the weights.

    Raises:
        DataError, MissingError, ConfigError: see `load_model`.
    """
    torch.set_num_threads(placement.threads)
    model = load_model(job.files.model, dtype=placement.dtype, device=placement.device)
    return Engine(model, stop_ids=job.stop_ids)
