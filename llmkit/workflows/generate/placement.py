"""How the model of a job runs: where, with how much memory, in how many processes."""

from dataclasses import dataclass

import torch

from llmkit.model.config import ModelConfig

_RUNTIME_BYTES = {"cpu": 280_000_000, "cuda": 500_000_000}
"""Memory of a process that has loaded torch and no model."""


@dataclass(frozen=True)
class Placement:
    """How a job's model runs; of a model in parts on GPUs, each of which has its own memory, one part."""

    device: torch.device
    """Of the first process."""
    dtype: torch.dtype
    threads: int
    """Of each process."""
    weight_bytes: int
    kv_bytes: int
    """Of the cache for the longest texts, as many as are at work at once."""
    kv_dtype: torch.dtype
    positions: int
    """That the cache holds, of all texts together."""
    texts: int
    """At work at once."""
    draft_bytes: int = 0
    """Of the weights of a model that guesses, and of its cache."""
    offload_bytes: int = 0
    """Of the device's memory, for what the cache has no room for."""
    adapter_bytes: int = 0
    """Of all adapters beside the base."""
    processes: int = 1

    @property
    def memory_bytes(self) -> int:
        """What they take of the device's memory, about."""
        return (
            runtime_bytes(self.device, self.processes)
            + self.weight_bytes
            + self.kv_bytes
            + self.draft_bytes
            + self.offload_bytes
            + self.adapter_bytes
        )


def runtime_bytes(device: torch.device, processes: int) -> int:
    """Memory of processes that have loaded torch and no model; on GPUs, of the one that is there."""
    return _RUNTIME_BYTES[device.type] * (processes if device.type == "cpu" else 1)


def weights_together(
    config: ModelConfig, nbytes: int, dtype: torch.dtype, device: torch.device, processes: int
) -> int:
    """Memory of a model's weights in parts; on GPUs, of the part that is there.

    Args:
        config: of the model.
        nbytes: of all weights.
        dtype: of them.
        device: where they are.
        processes: parts.
    """
    if device.type == "cpu":  # where all have the same pages of what is not cut
        return nbytes
    whole = config.vocab_size * config.hidden_size * dtype.itemsize  # embeddings are not cut
    return whole + max(0, nbytes - whole) // processes


def cache_together(config: ModelConfig, nbytes: int, device: torch.device, processes: int) -> int:
    """Memory of a cache, `nbytes` in one piece, whose heads are in parts; on GPUs, of the part there."""
    heads = 1 if config.latent is not None else config.num_key_value_heads  # that can be told apart
    everywhere = nbytes * max(1, processes // heads)
    return everywhere if device.type == "cpu" else -(-everywhere // processes)


def device_of(first: str, index: int) -> str:
    """The device of a process; on GPUs each has its own, beginning with the first one's."""
    kind, _, number = first.partition(":")
    return kind if kind == "cpu" else f"{kind}:{int(number or 0) + index}"
