"""The model of `llmkit generate`: where and how it runs, what that takes, and its weights, read."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.engine.block_store import check_kv_dtype
from llmkit.engine.draft_model import DraftModel
from llmkit.engine.drafts import PromptLookup, Proposer
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.gain import Gain
from llmkit.engine.native.parts import device_kind, runs_natively, why_not_natively
from llmkit.engine.native.weights import PackedModel, pack_weights
from llmkit.errors import ResourceError, UsageError
from llmkit.kernels.library import set_threads
from llmkit.kernels.packed import ROUNDED_FORMATS
from llmkit.model.quantised.coded_weights import CodedWeights
from llmkit.model.stored_numbers import dtype_name_of
from llmkit.model.stored_weights import StoredWeights
from llmkit.workflows.generate.device import cpu_threads, device_memory_bytes, device_named
from llmkit.workflows.generate.extent import Extent
from llmkit.workflows.generate.job import Job
from llmkit.workflows.generate.placement import Placement, device_of, runtime_bytes
from llmkit.workflows.generate.weights import JobBytes, job_bytes

if TYPE_CHECKING:
    from llmkit.engine.adapters.values import Adapter
    from llmkit.model.transformer import Transformer

ONE_THREAD_BYTES = 16_000_000
"""Weights below this are read by one thread quicker than two threads meet."""
AT_ONCE = 16
"""Texts at once where nobody says how many: a pass reads every weight once, for all of them."""
BLOCK_TOKENS = EngineConfig.block_tokens
_INFINITE = 1 << 62
_CACHE_SHARE = 0.5
"""Of the memory that is left, for the cache."""


def place(job: Job, extent: Extent | None) -> Placement:
    """Decide how the model runs.

    Args:
        job: which model, and what was asked for.
        extent: how much there is to write; None where only a pipe knows. The cache then takes what it may:
            rows are as long as they are, and memory that is not used is not taken.

    Raises:
        UsageError: the native kernels were asked for, and cannot.
        ConfigError, MissingError: no such device, or a cache that the model has no use for.
        ResourceError: not enough memory.
    """
    device, tp = device_named(job.config.device), job.config.tp
    if device_kind(device) == "cuda" and tp > 1:
        device_named(device_of(device, tp - 1))
    dtype = dtype_name_of(job.model) if job.config.dtype == "auto" else job.config.dtype
    kv_dtype = dtype if job.config.kv_dtype == "auto" else job.config.kv_dtype
    check_kv_dtype(job.model, kv_dtype)
    held = job_bytes(job, dtype, kv_dtype, device)
    offload_bytes = job.config.cache_offload if device_kind(device) == "cpu" else 0
    loads_torch = _loads_torch(job, dtype, device)
    fixed_bytes = held.weights + offload_bytes + job.adapters.nbytes
    fixed_bytes += runtime_bytes(device, tp, loads_torch=loads_torch)

    available = device_memory_bytes(device)
    room = _INFINITE if available is None else available - fixed_bytes
    context = job.model.max_position_embeddings
    longest = _whole_blocks(
        max(1, min(job.sampling.max_tokens, context) if extent is None else extent.positions)
    )
    texts, blocks = _texts_and_blocks(job, extent, longest, held, room)
    threads = job.config.threads or (1 if held.model.weights < ONE_THREAD_BYTES else cpu_threads())
    placement = Placement(
        device=device,
        dtype=dtype,
        threads=max(1, threads // tp),
        weight_bytes=held.model.weights,
        kv_bytes=held.model.cache(texts * longest, texts),
        kv_dtype=kv_dtype,
        positions=blocks * BLOCK_TOKENS,
        texts=texts,
        draft_bytes=held.drafts(texts * longest, texts),
        offload_bytes=offload_bytes,
        adapter_bytes=job.adapters.nbytes,
        processes=tp,
        loads_torch=loads_torch,
        kernels="native" if _uses_kernels(job, dtype, device) else "torch",
    )
    if available is not None and placement.memory_bytes > available:
        raise ResourceError(
            f"{job.files.model}: takes about {placement.memory_bytes:,} bytes of memory, "
            f"{placement.kv_bytes:,} of them for the cache (found {available:,} available)",
            hint="--dtype bfloat16, --kv-dtype int8, fewer --max-tokens, a smaller --batch or model",
        )
    return placement


def _texts_and_blocks(
    job: Job, extent: Extent | None, longest: int, held: JobBytes, room: int
) -> tuple[int, int]:
    """Texts at once, and the blocks of positions that their cache has.

    Args:
        job, extent: see `place`.
        longest: blocks of the longest text.
        held: what blocks take.
        room: bytes that there are for them.
    """
    texts, room = job.config.batch or AT_ONCE, int(room * _CACHE_SHARE)
    if extent is not None:
        texts = max(1, min(texts, extent.texts))
    if job.config.batch is None:  # fewer at once where memory is short
        texts = max(1, _most(texts, room, lambda count: held.caches(count * longest, count)))
    blocks = texts * longest
    if extent is None:
        most = texts * _whole_blocks(job.model.max_position_embeddings)
        blocks = max(blocks, _most(most, room, lambda count: held.caches(count, texts)))
    return texts, blocks


def _most(most: int, room: int, nbytes: Callable[[int], int]) -> int:
    """The largest count up to `most` for which `nbytes(count)` is within `room`."""
    return bisect_right(range(1, most + 1), room, key=nbytes)


def _whole_blocks(positions: int) -> int:
    return -(-positions // BLOCK_TOKENS)


def start_engine(job: Job, placement: Placement) -> Engine:
    """Read the weights.

    Raises:
        DataError, MissingError, ConfigError: see `StoredWeights`.
    """
    native = placement.kernels == "native"
    if native:
        set_threads(placement.threads)
    if job.config.tp > 1:
        return _divided_engine(job, placement, native=native)
    adapters: Sequence[Adapter] = ()
    model: Transformer | PackedModel
    if native and not job.adapters.sources:
        model = _packed(job, job.files.model, placement.dtype, rope_scaling=job.rope_scaling)
    else:
        model, adapters = _with_adapters(job, placement, native=native)
    proposer = _proposer(job, placement, native=isinstance(model, PackedModel))
    config = _engine_config(job, placement)
    engine = Engine(model, config, stop_ids=job.stop_ids, proposer=proposer, gain=Gain())
    for adapter in adapters:
        engine.adapters.add(adapter)
    return engine


def _packed(
    job: Job, path: Path, dtype: str, *, rope_scaling: Mapping[str, Any] | None = None
) -> PackedModel:
    """A model's weights packed straight from its files: no torch."""
    coded = CodedWeights() if job.config.weights == "stored" else None  # else they are numbers first
    weights = StoredWeights(path, dtype=dtype, rope_scaling=rope_scaling, coded=coded)
    return pack_weights(weights, ROUNDED_FORMATS.get(job.config.weights))


def _with_adapters(
    job: Job, placement: Placement, *, native: bool
) -> "tuple[Transformer | PackedModel, list[Adapter]]":
    """The model's modules, by which torch computes; or packed, after adapters have seen its weights."""
    from llmkit.workflows.generate.adapter import load_adapters

    model = _modules(job.files.model, placement, rope_scaling=job.rope_scaling)
    adapters = load_adapters(job.adapters, model, job.model)
    if not (native and _adds_natively(job, adapters)):
        return model, adapters
    import torch

    from llmkit.engine.module_weights import pack_model

    packed = pack_model(model, ROUNDED_FORMATS.get(job.config.weights), release=True)
    torch.set_num_threads(1)  # its threads would spin in the kernels' turn
    return packed, adapters


def _modules(
    path: Path, placement: Placement, *, rope_scaling: Mapping[str, Any] | None = None
) -> "Transformer":
    """A model by whose modules torch computes."""
    import torch

    from llmkit.model.dtypes import DTYPES
    from llmkit.model.load import load_model

    torch.set_num_threads(placement.threads)
    return load_model(path, dtype=DTYPES[placement.dtype], device=placement.device, rope_scaling=rope_scaling)


def _engine_config(job: Job, placement: Placement) -> EngineConfig:
    return EngineConfig(
        positions=placement.positions,
        block_tokens=BLOCK_TOKENS,
        max_texts=placement.texts,
        kv_dtype=placement.kv_dtype,
        offload_bytes=job.config.cache_offload,
    )


def _divided_engine(job: Job, placement: Placement, *, native: bool) -> Engine:
    """The same for a model in parts: one of them here, the others in processes of their own."""
    from llmkit.workflows.generate.processes import start_parts  # torch.distributed: others need not wait

    proposer = _proposer(job, placement, native=native)  # which has all of a model of its own
    model, lead = start_parts(job, placement, block_tokens=BLOCK_TOKENS, native=native)
    config = _engine_config(job, placement)
    return Engine(model, config, stop_ids=job.stop_ids, proposer=proposer, gain=Gain(), lead=lead)


def _proposer(job: Job, placement: Placement, *, native: bool) -> Proposer | None:
    """What guesses at tokens; a model for it runs where and as the job's own does."""
    drafts = job.drafts
    if drafts is None:
        return None
    if drafts.path is None or drafts.model is None:
        return PromptLookup(drafts.tokens)
    model: Transformer | PackedModel
    if native and runs_natively(placement.dtype, placement.device):
        model = _packed(job, drafts.path, placement.dtype)
    else:
        model = _modules(drafts.path, placement)
    return DraftModel(
        model,
        count=drafts.tokens,
        positions=placement.positions,
        vocab_size=job.model.vocab_size,
        block_tokens=BLOCK_TOKENS,
        max_texts=placement.texts,
        wide=isinstance(model, PackedModel) and model.nbytes >= ONE_THREAD_BYTES,
    )


def _adds_natively(job: Job, adapters: "Sequence[Adapter]") -> bool:
    """Whether the kernels add to every product that an adapter changes; else torch computes, as --stats says.

    Raises:
        UsageError: they were asked for, and cannot.
    """
    from llmkit.engine.adapters.native import why_not_added_natively

    for adapter in adapters:
        reason = why_not_added_natively(adapter.additions, job.model)
        if reason is None:
            continue
        if (asked := _asked_for_kernels(job)) is not None:
            raise UsageError(
                f"{asked}: adapter {adapter.name!r}: the native library {reason}",
                hint="leave it out: torch computes it",
            )
        return False
    return True


def _asked_for_kernels(job: Job) -> str | None:
    """The flag that asks for the native kernels."""
    if job.config.kernels == "native":
        return "--kernels native"
    return None if job.config.weights == "stored" else f"--weights {job.config.weights}"


def _loads_torch(job: Job, dtype: str, device: str) -> bool:
    """Whether something of a job is not our kernels' work: adapters are read and made ready by torch."""
    if job.config.kernels == "torch" or job.config.tp > 1 or job.adapters.sources:
        return True
    return not runs_natively(dtype, device)


def _uses_kernels(job: Job, dtype: str, device: str) -> bool:
    """Whether the native kernels compute.

    Raises:
        UsageError: they were asked for, and cannot.
    """
    asked = _asked_for_kernels(job)
    if job.config.kernels == "torch":
        if asked is not None:
            raise UsageError(f"{asked} needs the native kernels", hint="leave out --kernels torch")
        return False
    reason = why_not_natively(dtype, device)
    if asked is not None and reason is not None:
        raise UsageError(
            f"{asked}: the native library {reason}",
            hint="leave it out: torch computes every model",
        )
    return reason is None
