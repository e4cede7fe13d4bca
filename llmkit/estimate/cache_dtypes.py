"""How engines store a cache, and the bytes of one head's key, of its value, or of a latent vector.

Weights' dtypes and llama.cpp's are in `dtypes`; here are those that hold scales beside a cache's vectors.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from llmkit.errors import ConfigError, nearest
from llmkit.estimate.dtypes import CACHE_ONLY, FLOATS, KV_DTYPES, STORAGE

DS_MLA_LATENT = 576
"""kv_lora_rank 512 and qk_rope_head_dim 64: the one latent vector that fp8_ds_mla is made for."""
_VLLM = "vLLM, v1/kv_cache_interface.py"


class CacheFormat(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors stored in whole blocks, so that a vector of any format is a whole number of bytes."""

    name: str
    values: int
    """Numbers in one block."""
    nbytes: int
    """Of one block, its scales included where they stand in the block."""
    per_vector: int = 0
    """Bytes beside each vector: a scale for a token and head."""
    holds: Literal["both", "heads", "latent"] = "both"
    """Keys and values of heads, MLA's latent vector, or both."""
    source: str = ""
    """Where the layout is from; empty for numbers stored plainly."""

    def vector_bytes(self, numbers: int, *, latent: bool = False) -> int:
        """Bytes of one vector of `numbers` numbers: a head's key or value, or with `latent` MLA's.

        Raises:
            ConfigError: this format does not hold such a vector, or not in whole blocks.
        """
        if latent and self.holds == "heads":
            raise ConfigError(
                f"a {self.name} cache holds keys and values of heads, and this model keeps latents (MLA)",
                hint="--kv-dtype bfloat16, fp8 or fp8_ds_mla",
            )
        if self.holds == "latent" and (not latent or numbers != self.values):
            found = f"a latent of {numbers}" if latent else "keys and values of heads"
            raise ConfigError(
                f"a {self.name} cache holds latent vectors (MLA) of {self.values} numbers, "
                f"and this model keeps others (found {found})",
                hint="--kv-dtype fp8, or bfloat16",
            )
        if numbers % self.values:
            vector = "the latent" if latent else "head_dim"
            raise ConfigError(
                f"a {self.name} cache stores {self.values} numbers in a block, "
                f"and {vector} is no multiple of that (found {numbers})",
                hint="--kv-dtype int8, or bfloat16",
            )
        return numbers // self.values * self.nbytes + self.per_vector

    def describe(self, numbers: str) -> str:
        """The bytes of a vector as arithmetic: `{numbers} x 2 B`, `{numbers} x 34/32 B`."""
        if self.holds == "latent":
            return f"{self.nbytes} B"
        each = f"{numbers} x {self.nbytes}{'' if self.values == 1 else f'/{self.values}'} B"
        return f"({each} + {self.per_vector} B)" if self.per_vector else each


def _formats() -> dict[str, CacheFormat]:
    plain = [
        CacheFormat(
            name=name,
            values=STORAGE[name].values,
            nbytes=STORAGE[name].nbytes,
            source="llama.cpp, ggml-common.h" if name in CACHE_ONLY else "",
        )
        for name in KV_DTYPES
    ]
    with_scales = [
        # one float32 scale for a token's key and one for its value, in each head
        CacheFormat(name="int8-token", values=1, nbytes=1, per_vector=4, holds="heads", source=_VLLM),
        CacheFormat(name="fp8-token", values=1, nbytes=1, per_vector=4, holds="heads", source=_VLLM),
        # 16 numbers of four bits and their fp8 scale
        CacheFormat(name="nvfp4", values=16, nbytes=9, holds="heads", source=_VLLM),
        # 512 fp8 numbers, 4 float32 scales for 128 of them each, and 64 rotary numbers in 16 bits
        CacheFormat(
            name="fp8_ds_mla",
            values=DS_MLA_LATENT,
            nbytes=512 + 4 * 4 + 64 * 2,
            holds="latent",
            source="vLLM, flashmla_sparse.py",
        ),
    ]
    mlx = [
        # a group's scale and its bias, 16 bits each; other widths do not fill 32-bit words without a rest
        CacheFormat(
            name=f"mlx-{bits}bit-g{group}",
            values=group,
            nbytes=group * bits // 8 + 4,
            source="mlx-lm, models/cache.py",
        )
        for bits in (2, 4, 8)
        for group in (32, 64, 128)
    ]
    return {one.name: one for one in [*plain, *with_scales, *mlx]}


CACHE_FORMATS: Mapping[str, CacheFormat] = _formats()
"""Every format of a cache by name: those of `KV_DTYPES`, and those with scales beside the numbers."""
CACHE_DTYPES: tuple[str, ...] = tuple(CACHE_FORMATS)


def cache_format(name: str) -> CacheFormat:
    """The format of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in CACHE_FORMATS:
        raise ConfigError(
            f"no cache is stored as {name!r}",
            hint=f"--kv-dtype {nearest(name, CACHE_DTYPES) or 'bfloat16'}; known: {', '.join(CACHE_DTYPES)}",
        )
    return CACHE_FORMATS[name]


def float_bytes(name: str, *, key: str) -> int:
    """Bytes of one number of a state, which is kept in a float dtype.

    Raises:
        ConfigError: `name`, the setting `key`, is none of `FLOATS`.
    """
    if name not in FLOATS:
        raise ConfigError(f"{key} is not a float dtype (found {name!r})", hint=f"one of {', '.join(FLOATS)}")
    return STORAGE[name].nbytes
