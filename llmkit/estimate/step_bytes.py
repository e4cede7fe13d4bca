"""Bytes that one step of a model reads: its weights, and the caches of its sequences."""

from collections.abc import Mapping

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture, TensorSpec
from llmkit.estimate.attended import reach
from llmkit.estimate.cache_layers import held_layers
from llmkit.estimate.cache_settings import CacheSettings


def weight_bytes_read(
    architecture: Architecture,
    *,
    batch: int,
    bytes_per_value: float = 2.0,
    part_bytes: Mapping[str, float] | None = None,
) -> int:
    """Weights that one step reads for a batch of tokens, in bytes.

    Of a table that is looked up, one row a token; of E experts, those that at least one of B tokens is
    expected to choose, E (1 - (1 - k/E)^B), as if each chose at random; all of everything else, and of a
    tied table, for the head.

    Args:
        batch: tokens that go through the model together.
        bytes_per_value: where all tensors are stored alike.
        part_bytes: where they are not, bytes by part, scales included: a part's tensors have their share of
            them by the numbers they hold. In place of bytes_per_value.

    Raises:
        ConfigError: part_bytes lacks a part that the model has.
    """
    per_value = dict.fromkeys(architecture.by_part, bytes_per_value)
    if part_bytes is not None:
        per_value = {
            part: bytes_of_part(part, part_bytes) / numbers for part, numbers in architecture.by_part.items()
        }
    total = 0.0
    for tensor in architecture.tensors:
        stored = tensor.numel * per_value[tensor.part]
        if _is_looked_up(tensor):
            total += stored * min(batch, tensor.shape[0]) / tensor.shape[0]
            if architecture.tied_head and tensor.is_tied_head:
                total += stored
        elif tensor.active == 1:
            total += stored
        else:
            total += stored * (1 - (1 - tensor.active) ** batch)
    return round(total)


def cache_bytes_read(architecture: Architecture, settings: CacheSettings, context: int) -> int:
    """Bytes that a token of one sequence reads on one device; a state is written too.

    Args:
        architecture: the model, as `as_read` has it: a shared cache is read by every layer that shares it.
        settings: how the cache is kept.
        context: tokens kept of the sequence.

    Raises:
        ConfigError: as `cache_bytes`.
    """
    total = 0
    for held in held_layers(architecture, settings, context):
        if held.cache.kind == "state":
            total += held.layers * 2 * (held.recurrent_bytes + held.conv_bytes)
        else:
            total += held.layers * held.token_bytes * reach(held.cache, context)
    return total


def bytes_of_part(part: str, part_bytes: Mapping[str, float]) -> float:
    """The bytes of one part of a model, of those that are given by part.

    Raises:
        ConfigError: there are none of it.
    """
    if part not in part_bytes:
        raise ConfigError(
            f"part_bytes has nothing for {part} (found: {', '.join(part_bytes)})",
            hint="count the bytes of every part of the model",
        )
    return part_bytes[part]


def _is_looked_up(tensor: TensorSpec) -> bool:
    return tensor.module in ("embed_tokens", "embed_positions") and len(tensor.shape) == 2
