"""Latent attention's weights as the kernels take them.

What is kept of a token becomes keys and values by one small matrix, kv_b_proj. Queries that read what is kept
need its keys' half turned, so that no one rounding to codes would serve both: like a router it stays numbers,
whatever the rest is rounded to.
Shapes: H heads, N qk_nope_head_dim, R qk_rope_head_dim, U v_head_dim, C kv_lora_rank.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.native.matrices import Matrices
from llmkit.kernels.forward_latent import LatentWeights
from llmkit.kernels.memory import Floats
from llmkit.kernels.packed import PackedFormat, PackedWeight, pack
from llmkit.model.config_parts import LATENT_NORM_EPS, LatentConfig


def latent_attention(
    matrices: Matrices, latent: LatentConfig, attention: str
) -> tuple[dict[str, Any], tuple[Floats | None, ...]]:
    """What a layer's attention has, by the names of `LayerWeights`; and the biases of q, k, v, o and of a
    gate, which it has not.

    Args:
        matrices: of the model.
        latent: its sizes.
        attention: the module's name.
    """
    vectors, row = matrices.vectors, latent.kv_lora_rank + latent.qk_rope_head_dim
    rows = f"{attention}.kv_a_proj_with_mqa"
    through: dict[str, Any] = {}
    if latent.q_lora_rank:
        through = {
            "q_a": matrices.pack(f"{attention}.q_a_proj.weight"),
            "q_a_bias": vectors.take(f"{attention}.q_a_proj.bias"),
            "q_norm": vectors.take(f"{attention}.q_a_layernorm.weight"),
        }
    kv_norm = vectors.take(f"{attention}.kv_a_layernorm.weight")
    assert kv_norm is not None
    kv_b = f"{attention}.kv_b_proj.weight"
    keys, values = _by_head(matrices.plain(kv_b), latent)
    parts = {
        "q": matrices.pack(f"{attention}.q_{'b_' if through else ''}proj.weight", turned=True),
        "k": matrices.pack(f"{rows}.weight", turned=True, head_dim=row),
        "o": matrices.pack(f"{attention}.o_proj.weight"),
        "latent": LatentWeights(
            **through,
            kv_norm=kv_norm,
            into=_packed(keys.swapaxes(1, 2)),
            keys=_packed(keys),
            values=_packed(values),
            rotated=latent.qk_rope_head_dim,
            epsilon=LATENT_NORM_EPS,
        ),
    }
    matrices.give_up(kv_b)
    kept_bias = vectors.take(f"{rows}.bias", turned=True, head_dim=row)
    return parts, (None, kept_bias, None, vectors.take(f"{attention}.o_proj.bias"), None)


def _by_head(rows: NDArray[Any], latent: LatentConfig) -> tuple[NDArray[Any], NDArray[Any]]:
    """What makes keys, (H, N, C), and values, (H, U, C)."""
    N = latent.qk_nope_head_dim
    by_head = rows.reshape(-1, N + latent.v_head_dim, latent.kv_lora_rank)
    return by_head[:, :N], by_head[:, N:]


def _packed(matrices: Iterable[NDArray[Any]]) -> list[PackedWeight]:
    return [
        pack(one, PackedFormat.FLOAT32 if one.dtype == np.float32 else PackedFormat.BFLOAT16)
        for one in map(np.ascontiguousarray, matrices)
    ]
