"""The model of `llmkit generate`: where and how it runs, what that takes, and its weights, read."""

from dataclasses import dataclass

import torch

from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.native import pack_model, runs_natively
from llmkit.errors import ResourceError, UsageError
from llmkit.estimate.architecture_of import architecture_of
from llmkit.estimate.cache import contiguous_cache_bytes
from llmkit.estimate.stored import NumbersAlone
from llmkit.estimate.weight_bytes import weight_bytes
from llmkit.kernels.library import set_threads, why_not
from llmkit.kernels.packed import PackedFormat
from llmkit.model.dtypes import DTYPES, dtype_of
from llmkit.model.load import load_model
from llmkit.train.hardware import available_memory_bytes, choose_device
from llmkit.workflows.generate_job import Job
from llmkit.workflows.generate_rows import Extent

ONE_THREAD_BYTES = 16_000_000
"""Weights below this are read by one thread quicker than two threads meet."""
AT_ONCE = 16
"""Texts at once where nobody says how many: a pass reads every weight once, for all of them."""
BLOCK_TOKENS = EngineConfig.block_tokens
_INFINITE = 1 << 62
_CACHE_SHARE = 0.5
"""Of the memory that is left, for the cache."""
_FORMATS = {"stored": None, "int8": PackedFormat.INT8, "int4": PackedFormat.INT4}
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
    """Of the cache for the longest texts, as many as are at work at once."""
    positions: int
    """That the cache holds, of all texts together."""
    texts: int
    """At work at once."""

    @property
    def memory_bytes(self) -> int:
        """What the process takes, about."""
        return _RUNTIME_BYTES[self.device.type] + self.weight_bytes + self.kv_bytes


def place(job: Job, extent: Extent | None) -> Placement:
    """Decide how the model runs.

    Args:
        job: which model, and what was asked for.
        extent: how much there is to write; None where only a pipe knows. The cache then takes what it may:
            rows are as long as they are, and memory that is not used is not taken.

    Raises:
        ConfigError, MissingError: no such device.
        ResourceError: not enough memory.
    """
    device = choose_device(job.config.device)
    dtype = dtype_of(job.model) if job.config.dtype == "auto" else DTYPES[job.config.dtype]
    architecture, name = architecture_of(job.model), str(dtype).removeprefix("torch.")
    nbytes = weight_bytes(architecture, NumbersAlone(name)).nbytes
    context = job.model.max_position_embeddings
    longest = _whole_blocks(
        max(1, min(job.sampling.max_tokens, context) if extent is None else extent.positions)
    )
    block_bytes = contiguous_cache_bytes(architecture, name, context=BLOCK_TOKENS)
    texts = job.config.batch or AT_ONCE
    if extent is not None:
        texts = max(1, min(texts, extent.texts))
    available = available_memory_bytes(device)
    room = _INFINITE if available is None else available - nbytes - _RUNTIME_BYTES[device.type]
    if job.config.batch is None:  # fewer at once where memory is short
        texts = max(1, min(texts, int(room * _CACHE_SHARE) // (longest * block_bytes)))
    blocks = texts * longest
    if extent is None:
        blocks = max(blocks, min(texts * _whole_blocks(context), int(room * _CACHE_SHARE) // block_bytes))
    placement = Placement(
        device=device,
        dtype=dtype,
        threads=job.config.threads or (1 if nbytes < ONE_THREAD_BYTES else torch.get_num_threads()),
        weight_bytes=nbytes,
        kv_bytes=texts * longest * block_bytes,
        positions=blocks * BLOCK_TOKENS,
        texts=texts,
    )
    if available is not None and placement.memory_bytes > available:
        raise ResourceError(
            f"{job.files.model}: takes about {placement.memory_bytes:,} bytes of memory, "
            f"{placement.kv_bytes:,} of them for the cache (found {available:,} available)",
            hint="--dtype bfloat16, fewer --max-tokens, a smaller --batch, or a smaller model",
        )
    return placement


def _whole_blocks(positions: int) -> int:
    return -(-positions // BLOCK_TOKENS)


def start_engine(job: Job, placement: Placement) -> Engine:
    """Read the weights.

    Raises:
        DataError, MissingError, ConfigError: see `load_model`.
    """
    torch.set_num_threads(placement.threads)
    native = _uses_kernels(job, placement)
    model = load_model(
        job.files.model, dtype=placement.dtype, device=placement.device, rope_scaling=job.rope_scaling
    )
    config = EngineConfig(positions=placement.positions, block_tokens=BLOCK_TOKENS, max_texts=placement.texts)
    if not native:
        return Engine(model, config, stop_ids=job.stop_ids)
    set_threads(placement.threads)
    packed = pack_model(model, _FORMATS[job.config.weights], release=True)
    return Engine(model, config, stop_ids=job.stop_ids, native=packed)


def _uses_kernels(job: Job, placement: Placement) -> bool:
    """Whether the native kernels compute.

    Raises:
        UsageError: they were asked for, and cannot.
    """
    kernels, weights = job.config.kernels, job.config.weights
    asked = (
        "--kernels native" if kernels == "native" else None if weights == "stored" else f"--weights {weights}"
    )
    if kernels == "torch":
        if asked is not None:
            raise UsageError(f"{asked} needs the native kernels", hint="leave out --kernels torch")
        return False
    possible = runs_natively(job.model, placement.dtype, placement.device)
    if asked is not None and not possible:
        dtype = str(placement.dtype).removeprefix("torch.")
        raise UsageError(
            f"{asked}: the native library {why_not() or f'does not compute this model in {dtype}'}",
            hint="leave it out: torch computes every model",
        )
    return possible
