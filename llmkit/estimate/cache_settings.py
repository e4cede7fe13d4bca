"""How an engine keeps its cache: the choices that decide its bytes beside the model itself."""

import msgspec

from llmkit.errors import ConfigError
from llmkit.estimate.bounds import require_at_least
from llmkit.estimate.cache_dtypes import cache_format, float_bytes
from llmkit.estimate.dtypes import FLOATS


class CacheSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How an engine keeps its cache.

    Raises:
        ConfigError: a number is out of range, a dtype is unknown, or max_batched_tokens has no block_size.
    """

    kv_dtype: str = "bfloat16"
    """One of `CACHE_DTYPES`."""
    block_size: int | None = None
    """Tokens of a page: each sequence takes whole ones. None: tokens one by one."""
    tensor_parallel: int = 1
    """Ranks. Bytes are those of one: heads are split, and copied where ranks are more; latents are copied."""
    state_dtype: str = "float32"
    """Of recurrent states. float32 is what the recurrences are computed and, in transformers, kept in; vLLM's
    `mamba_ssm_cache_dtype auto` keeps some models' in 16 bits. Inputs of convolutions are kept as the cache
    is, and in 16 bits beside a cache that is quantised."""
    window_is_full: bool = False
    """The engine evicts nothing: sliding and chunked layers keep the whole text."""
    max_batched_tokens: int | None = None
    """Tokens of one step of the scheduler: windows then take what vLLM reserves for a sequence at worst."""
    shared_prefix: int = 0
    """Tokens at the start that all sequences of a batch have in common and keep once, in whole blocks."""
    encoder_tokens: int = 0
    """Tokens that cross-attention reads; 0: as many as the model says."""

    def __post_init__(self) -> None:
        cache_format(self.kv_dtype)
        float_bytes(self.state_dtype, key="state_dtype")
        for name, least in (("block_size", 1), ("tensor_parallel", 1), ("max_batched_tokens", 1)):
            require_at_least(name, getattr(self, name), least)
        for name in ("shared_prefix", "encoder_tokens"):
            require_at_least(name, getattr(self, name), 0)
        if self.max_batched_tokens is not None and self.block_size is None:
            raise ConfigError(
                "max_batched_tokens counts what a window reserves in blocks, and block_size is not set",
                hint="set block_size too: 16 is vLLM's",
            )

    @property
    def conv_dtype(self) -> str:
        """Of the inputs that a convolution keeps."""
        return self.kv_dtype if self.kv_dtype in FLOATS else "bfloat16"
