"""Memory of the key/value cache, from a model's shape alone."""

from dataclasses import dataclass, fields

from llmkit.errors import ConfigError
from llmkit.estimate.dtypes import STORAGE
from llmkit.model.config import ModelConfig


@dataclass(frozen=True, kw_only=True)
class KVShape:
    """What decides the size of a cache of full attention, where the rest of a model is not known.

    Raises:
        ConfigError: a number is below 1.
    """

    num_hidden_layers: int
    num_key_value_heads: int
    head_dim: int

    def __post_init__(self) -> None:
        for one in fields(self):
            _require_positive(one.name, getattr(self, one.name))


def kv_cache_bytes(
    config: ModelConfig | KVShape, *, batch: int, context: int, bytes_per_value: float = 2.0
) -> int:
    """Memory of the key/value cache, in bytes.

    Per layer, K and V are each (batch, num_key_value_heads, context, head_dim).
    Block rounding and quantisation scales are not counted, unless bytes_per_value has them.

    Args:
        config: the model, or what of it the cache depends on.
        batch: sequences held at once.
        context: tokens kept per sequence, prompt and generated together.
        bytes_per_value: 2 for bf16, 1 for int8, 0.5 for int4; `kv_bytes_per_value` gives it by name.

    Raises:
        ConfigError: batch or context is below 1.

    Source: Pope et al. 2022, arXiv:2211.05102.
    """
    _require_positive("batch", batch)
    _require_positive("context", context)
    values = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * batch * context
    numerator, denominator = float(bytes_per_value).as_integer_ratio()  # whole numbers: exact at any size
    return -(-values * numerator // denominator)


def kv_bytes_per_value(dtype: str, head_dim: int) -> float:
    """Bytes that one number of the cache takes.

    Args:
        dtype: one of `KV_DTYPES`.
        head_dim: a head's keys or values are stored in whole blocks.

    Raises:
        ConfigError: head_dim is no multiple of the block of this dtype.
    """
    storage = STORAGE[dtype]
    if head_dim % storage.values:
        raise ConfigError(
            f"a {dtype} cache stores {storage.values} numbers in a block, "
            f"and head_dim is no multiple of that (found {head_dim})",
            hint="--kv-dtype int8, or bfloat16",
        )
    return storage.bytes_per_value


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise ConfigError(f"{name} is not at least 1 (found {value})", hint=f"change {name}")
