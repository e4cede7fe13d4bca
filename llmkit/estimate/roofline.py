"""How fast a model can be on a device: no faster than it reads its weights and cache, nor than it computes.

A step takes the longer of the two (Williams et al. 2009, doi:10.1145/1498765.1498785). At 100 % of a device's
bandwidth and arithmetic the times are bounds; what is really reached (MBU, MFU) depends on kernels and on how
weights are stored, so the caller gives it.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import Literal

import msgspec
from msgspec.structs import replace

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture
from llmkit.estimate.architecture_flops import decode_flops, prefill_flops
from llmkit.estimate.attended import as_read
from llmkit.estimate.bounds import require_at_least, require_part, require_positive
from llmkit.estimate.cache import cache_bytes, largest_batch
from llmkit.estimate.cache_settings import CacheSettings
from llmkit.estimate.devices import Device
from llmkit.estimate.fit import largest
from llmkit.estimate.step_bytes import bytes_of_part, cache_bytes_read, weight_bytes_read


class RooflineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is stored, asked and run.

    Raises:
        ConfigError: a number is not in its range.
    """

    prompt_tokens: int
    """Of one prompt, which is read in one pass."""
    context: int | None = None
    """Tokens of a sequence while it is decoded; None: as many as the prompt."""
    batch: int = 1
    """Sequences decoded together."""
    gpus: int = 1
    """Devices that share each layer, in the best case: nothing is counted for what they tell each other."""
    cache: CacheSettings = msgspec.field(default_factory=CacheSettings)
    """How the cache is kept; it is split over `gpus`, whatever tensor_parallel says here."""
    weight_bytes_per_value: float = 2.0
    part_bytes: Mapping[str, float] | None = None
    """Bytes of the weights by part of the model, as `WeightBytes.by_part` has them, for those that are stored
    in several ways; in place of weight_bytes_per_value."""
    weight_bytes: int | None = None
    """That all devices hold together, where the caller knows it; what a step reads does not follow."""
    compute_dtype: str | None = None
    """What the device computes in; None: the first it has of bf16, fp16 and fp32."""
    mfu: float = 1.0
    """Part of the arithmetic that is reached, above 0 and at most 1."""
    mbu: float = 1.0
    """Part of the bandwidth that is reached."""
    memory_fraction: float = 0.9
    """Part of the memory that weights and caches may fill."""
    memory_bytes: int | None = None
    """Of one device; None: what the table has."""
    reserved_bytes: int = 0
    """Of that part, on each device: taken by something else, activations for one."""

    def __post_init__(self) -> None:
        for name in ("prompt_tokens", "context", "batch", "gpus", "memory_bytes"):
            require_at_least(name, getattr(self, name), 1)
        require_positive("weight_bytes_per_value", self.weight_bytes_per_value)
        for name in ("mfu", "mbu", "memory_fraction"):
            require_part(name, getattr(self, name))


class Roofline(msgspec.Struct, frozen=True, kw_only=True):
    """Times and rates, and what they were worked out of. Bytes and operations are of all devices together."""

    prefill_flops: int
    """Of one prompt."""
    ttft_seconds: float | None
    """Reading one prompt, alone and without a queue; None where nobody knows how fast the device computes."""
    prefill_bound: Literal["compute", "bandwidth"]
    prompt_tokens_per_second: float | None
    decode_flops: int
    """Of one step for the whole batch."""
    weight_bytes_read: int
    """For one step."""
    kv_bytes_read: int
    """For one step, of the whole batch."""
    step_seconds: float
    """One token for each sequence of the batch."""
    decode_bound: Literal["compute", "bandwidth"]
    tokens_per_second: float
    """Of the whole batch."""
    weight_bytes: int
    kv_bytes: int
    """That one session holds."""
    sessions: int | None
    """That fit into memory beside the weights; None where the memory is unknown, or a session takes none."""
    compute_dtype: str | None
    mfu: float
    mbu: float


def roofline(architecture: Architecture, device: Device, settings: RooflineSettings) -> Roofline:
    """The best times of a model on a device.

    Raises:
        ConfigError: the device has no rate for the dtype asked for, part_bytes lacks a part, or a layer's
            cache cannot be kept as asked.
    """
    context = settings.context or settings.prompt_tokens
    batch, gpus = settings.batch, settings.gpus
    peak = device.peak(settings.compute_dtype)
    flops_per_second = None if peak is None else peak[1] * gpus * settings.mfu
    bytes_per_second = device.bandwidth * gpus * settings.mbu

    def seconds(flops: int, nbytes: int) -> tuple[float, Literal["compute", "bandwidth"]]:
        computing = 0.0 if flops_per_second is None else flops / flops_per_second
        reading = nbytes / bytes_per_second
        return (computing, "compute") if computing > reading else (reading, "bandwidth")

    def weights(tokens: int) -> int:
        return weight_bytes_read(
            architecture,
            batch=tokens,
            bytes_per_value=settings.weight_bytes_per_value,
            part_bytes=settings.part_bytes,
        )

    held, read = _weight_bytes(architecture, settings), weights(batch)
    cache = replace(settings.cache, tensor_parallel=gpus)
    kv_held = gpus * cache_bytes(architecture, cache, context=context).per_sequence
    model = as_read(architecture, cache)
    kv_read = batch * gpus * cache_bytes_read(model, cache, context)

    prompt_flops = prefill_flops(model, settings.prompt_tokens)
    ttft, prefill_bound = seconds(prompt_flops, weights(settings.prompt_tokens))
    step_flops = batch * decode_flops(model, context)
    step, decode_bound = seconds(step_flops, read + kv_read)
    return Roofline(
        prefill_flops=prompt_flops,
        ttft_seconds=None if flops_per_second is None else ttft,
        prefill_bound=prefill_bound,
        prompt_tokens_per_second=None if flops_per_second is None else settings.prompt_tokens / ttft,
        decode_flops=step_flops,
        weight_bytes_read=read,
        kv_bytes_read=kv_read,
        step_seconds=step,
        decode_bound=decode_bound,
        tokens_per_second=batch / step,
        weight_bytes=held,
        kv_bytes=kv_held,
        sessions=_sessions(architecture, device, settings, cache, held),
        compute_dtype=None if peak is None else peak[0],
        mfu=settings.mfu,
        mbu=settings.mbu,
    )


def batch_at_rate(
    architecture: Architecture, device: Device, settings: RooflineSettings, tokens_per_second: float
) -> int:
    """The largest batch in which every sequence gets this many tokens a second; 0 where not even one does.

    Raises:
        ConfigError: tokens_per_second is not above 0; or nothing that is known grows with the batch.
    """
    require_positive("tokens_per_second", tokens_per_second)
    if device.peak(settings.compute_dtype) is None and not architecture.caches:
        raise ConfigError(
            f"no batch is too large: how fast {device.key} computes is not known, and the model has no cache",
            hint=f"give tflops of [{device.key}] in a table of devices",
        )
    longest = 1 / tokens_per_second

    def fast_enough(batch: int) -> bool:
        return roofline(architecture, device, replace(settings, batch=batch)).step_seconds <= longest

    return largest(fast_enough)


def _weight_bytes(architecture: Architecture, settings: RooflineSettings) -> int:
    if settings.weight_bytes is not None:
        return settings.weight_bytes
    if settings.part_bytes is not None:
        return ceil(sum(bytes_of_part(part, settings.part_bytes) for part in architecture.by_part))
    return ceil(architecture.parameters * Fraction(settings.weight_bytes_per_value))


def _sessions(
    architecture: Architecture, device: Device, settings: RooflineSettings, cache: CacheSettings, weights: int
) -> int | None:
    memory = settings.memory_bytes or device.memory_bytes
    if memory is None:
        return None
    room = int(memory * settings.memory_fraction) - settings.reserved_bytes - -(-weights // settings.gpus)
    context = settings.context or settings.prompt_tokens
    return largest_batch(architecture, cache, room, context=context)
