"""What an adapter is to the engine: what it adds to which products.

Shapes: r rank.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Addition:
    """What an adapter adds to a product y = x W^T: x A^T B^T, its scale counted in (LoRA, 2106.09685).

    With factors (DoRA, 2402.09353) the product itself is multiplied by them, without its bias.
    """

    a: "Tensor"
    """(r, inputs) float32."""
    b: "Tensor"
    """(r, outputs) float32: transposed, multiplied with the scale, and with the factors."""
    factors: "Tensor | None" = None
    """(outputs) float32: for DoRA's whole strength its magnitudes over the norms of the rows of W + B A."""

    @property
    def tensors(self) -> "tuple[Tensor, ...]":
        """All of it."""
        return (self.a, self.b) if self.factors is None else (self.a, self.b, self.factors)


@dataclass(frozen=True, eq=False, slots=True)
class Adapter:
    """A loaded adapter."""

    name: str
    additions: Mapping[str, Addition]
    """By the module whose product it is: `model.layers.0.self_attn.q_proj`."""
    digest: str
    """Of all its numbers: keys and values made with it are found by it."""

    @property
    def nbytes(self) -> int:
        """Memory that it takes beside the base."""
        return sum(tensor.nbytes for addition in self.additions.values() for tensor in addition.tensors)


def digest_of(additions: Mapping[str, Addition]) -> str:
    """Of all that additions are, whatever order they come in."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(additions):
        for tensor in additions[name].tensors:
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().cpu().numpy().data)
    return digest.hexdigest()
