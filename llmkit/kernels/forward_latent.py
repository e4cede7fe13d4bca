"""Latent attention in a layer, and how the library is told of it.

Shapes: H heads, C kv_lora_rank, N qk_nope_head_dim, R qk_rope_head_dim, U v_head_dim. Vectors are float32.
"""

from collections.abc import Iterator, Sequence
from ctypes import addressof
from dataclasses import dataclass

from llmkit.kernels.forward_structs import LatentStruct
from llmkit.kernels.library import WeightStruct
from llmkit.kernels.memory import Floats
from llmkit.kernels.packed import PackedWeight


@dataclass(frozen=True, kw_only=True)
class LatentWeights:
    """What latent attention has beside a layer's q, (H (N + R), inputs), k, (C + R, D), and o.

    Heads' numbers that the position rotates are their last ones, pairs half of them apart.
    """

    q_a: PackedWeight | None = None
    """(rank, D), before q."""
    q_a_bias: Floats | None = None
    q_norm: Floats | None = None
    """(rank), between the two."""
    kv_norm: Floats
    """(C)."""
    into: Sequence[PackedWeight]
    """H of (C, N), a head's key matrix turned: a query into the space of latents."""
    keys: Sequence[PackedWeight]
    """H of (N, C): latents into keys."""
    values: Sequence[PackedWeight]
    """H of (U, C): latents into values."""
    rotated: int
    """R."""
    epsilon: float
    """Of both norms."""

    def __post_init__(self) -> None:
        vectors = (self.q_a_bias, self.q_norm, self.kv_norm)
        assert all(one is None or one.flags.c_contiguous for one in vectors)
        assert (self.q_a is None) == (self.q_norm is None)

    @property
    def matrices(self) -> Iterator[PackedWeight]:
        """Every packed weight."""
        if self.q_a is not None:
            yield self.q_a
        yield from (*self.into, *self.keys, *self.values)


class LatentStructs:
    """The same as the library reads it; holds all that its addresses point to."""

    def __init__(self, latent: LatentWeights) -> None:
        into, keys, values = (
            (WeightStruct * len(heads))(*(one.struct for one in heads))
            for heads in (latent.into, latent.keys, latent.values)
        )
        struct = LatentStruct(
            q_a=WeightStruct() if latent.q_a is None else latent.q_a.struct,
            q_a_bias=_address(latent.q_a_bias),
            q_norm=_address(latent.q_norm),
            kv_norm=_address(latent.kv_norm),
            into=addressof(into),
            keys=addressof(keys),
            values=addressof(values),
            kept=latent.into[0].num_rows,
            plain=latent.into[0].num_cols,
            rotated=latent.rotated,
            value=latent.values[0].num_rows,
            epsilon=latent.epsilon,
        )
        self._kept = latent, into, keys, values, struct
        self.address = addressof(struct)


def _address(vector: Floats | None) -> int | None:
    return None if vector is None else vector.ctypes.data
