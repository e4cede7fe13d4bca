"""What an estimate assumes beside the model itself."""

from typing import Literal

import msgspec

from llmkit.errors import ConfigError

UNKNOWN_CONTEXT = 4096
"""Tokens to assume for a shape that names no context of its own."""
MOST = 10**18
"""No memory, text or batch is larger; a number beyond it is a slip."""
Unknown = Literal["context", "batch", "quant", "parameters"]
"""What an estimate can be solved for."""
Optimizer = Literal["adamw", "adamw-8bit", "muon", "sgd-momentum"]
Precision = Literal["bf16-master", "mixed16", "fp32", "bf16"]
Recompute = Literal["none", "selective", "full"]
"""What of a forward pass is worked out again in the backward pass."""


class EstimateConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is to be used.

    Raises:
        ConfigError: a number is below 1 or beyond reason, or solving lacks the memory to solve for.
    """

    context: int | None = None
    """Tokens kept per sequence, prompt and generated together; None: as many as the model has positions."""
    batch: int = 1
    """Sequences held at once."""
    dtype: str | None = None
    """Of the weights, one of `scheme_names.SCHEMES`; None: as stored, or as the config says, or bfloat16."""
    kv_dtype: str | None = None
    """Of the cache, one of `cache_dtypes.CACHE_DTYPES`; None: what the model computes in."""
    memory_bytes: int | None = None
    """What there is, on each device, for all that is counted; None: no such limit."""
    tensor_parallel: int = 1
    """Devices that share each layer; bytes are those of one."""
    block_size: int | None = None
    """Tokens of a page of the cache."""
    shared_prefix: int = 0
    """Tokens that all sequences begin with and keep once."""
    window: bool = True
    """Whether layers with a sliding window let go of what is outside it."""
    prefill_chunk: int | None = None
    """Tokens of a prompt that go through the model together: counts activations. None: they are left out."""
    solve: Unknown | None = None
    """What to answer for memory_bytes."""

    def __post_init__(self) -> None:
        for name in (
            *("context", "batch", "memory_bytes", "tensor_parallel", "block_size", "prefill_chunk"),
            "shared_prefix",
        ):
            value, least = getattr(self, name), int(name != "shared_prefix")
            flag = name.removesuffix("_bytes").replace("_", "-")
            if value is not None and value < least:
                raise ConfigError(f"{flag} is not at least {least} (found {value})", hint=f"change --{flag}")
            if value is not None and value > MOST:
                raise ConfigError(f"{flag} is more than {MOST:,} (found {value:,})", hint=f"change --{flag}")
        if self.solve is not None and self.memory_bytes is None:
            raise ConfigError(f"solving for {self.solve} needs to know the memory", hint="--memory 24GiB")
