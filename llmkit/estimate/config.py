"""What an estimate assumes beside the model itself."""

from dataclasses import dataclass

from llmkit.errors import ConfigError
from llmkit.estimate.dtypes import KVDtype, WeightDtype

UNKNOWN_CONTEXT = 4096
"""Tokens to assume for a shape that names no context of its own."""


@dataclass(frozen=True, kw_only=True)
class EstimateConfig:
    """How a model is to be used.

    Raises:
        ConfigError: a number is below 1.
    """

    context: int | None = None
    """Tokens kept per sequence, prompt and generated together; None: as many as the model has positions."""
    batch: int = 1
    """Sequences held at once."""
    dtype: WeightDtype | None = None
    """Of the weights; None: as they are stored, or as the config says, or bfloat16."""
    kv_dtype: KVDtype | None = None
    """Of the cache; None: what the model computes in."""
    memory_bytes: int | None = None
    """What there is for weights and cache together; None: no such limit."""

    def __post_init__(self) -> None:
        for name in ("context", "batch", "memory_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                flag = name.removesuffix("_bytes")
                raise ConfigError(f"{flag} is not at least 1 (found {value})", hint=f"change --{flag}")
