"""How the model of a job runs: where, with how much memory, in how many processes."""

from dataclasses import dataclass

from llmkit.engine.native.parts import device_kind
from llmkit.model.config import ModelConfig
from llmkit.model.stored_numbers import ARRAY_DTYPES

_KERNELS_BYTES = 80_000_000
"""Memory of a process that has loaded our kernels and no model."""
_TORCH_BYTES = {"cpu": 280_000_000, "cuda": 500_000_000}
"""Of one that has loaded torch."""


@dataclass(frozen=True)
class Placement:
    """How a job's model runs; of a model in parts on GPUs, each of which has its own memory, one part."""

    device: str
    """Of the first process."""
    dtype: str
    threads: int
    """Of each process."""
    weight_bytes: int
    kv_bytes: int
    """Of the cache for the longest texts, as many as are at work at once."""
    kv_dtype: str
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
    loads_torch: bool = True
    kernels: str = "torch"
    """What computes the model: native or torch."""

    @property
    def memory_bytes(self) -> int:
        """What they take of the device's memory, about."""
        return (
            runtime_bytes(self.device, self.processes, loads_torch=self.loads_torch)
            + self.weight_bytes
            + self.kv_bytes
            + self.draft_bytes
            + self.offload_bytes
            + self.adapter_bytes
        )


def runtime_bytes(device: str, processes: int, *, loads_torch: bool) -> int:
    """Memory of processes that have no model yet; on GPUs, of the one that is there."""
    if not loads_torch:
        return _KERNELS_BYTES  # of one process: parts are torch's
    kind = device_kind(device)
    return _TORCH_BYTES[kind] * (processes if kind == "cpu" else 1)


def weights_together(config: ModelConfig, nbytes: int, dtype: str, device: str, processes: int) -> int:
    """Memory of a model's weights in parts; on GPUs, of the part that is there.

    Args:
        config: of the model.
        nbytes: of all weights.
        dtype: of them.
        device: where they are.
        processes: parts.
    """
    if device_kind(device) == "cpu":  # where all have the same pages of what is not cut
        return nbytes
    whole = config.vocab_size * config.hidden_size * ARRAY_DTYPES[dtype].itemsize  # embeddings are not cut
    return whole + max(0, nbytes - whole) // processes


def cache_together(config: ModelConfig, nbytes: int, device: str, processes: int) -> int:
    """Memory of a cache, `nbytes` in one piece, whose heads are in parts; on GPUs, of the part there."""
    heads = 1 if config.latent is not None else config.num_key_value_heads  # that can be told apart
    everywhere = nbytes * max(1, processes // heads)
    return everywhere if device_kind(device) == "cpu" else -(-everywhere // processes)


def device_of(first: str, index: int) -> str:
    """The device of a process; on GPUs each has its own, beginning with the first one's."""
    kind, _, number = first.partition(":")
    return kind if kind == "cpu" else f"{kind}:{int(number or 0) + index}"
