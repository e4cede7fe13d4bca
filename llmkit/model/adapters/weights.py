"""The values of an adapter apart from any model: two factors for each matrix, tensors in place of others.

Shapes: r rank, in and out of the matrix W (out, in).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

TRAINED_ON = "give the model that the adapter was trained on"
"""What helps where an adapter does not fit its base."""


@dataclass(frozen=True)
class LowRank:
    """The change of one matrix: W + scale * B A, and for DoRA each row of that brought to a length."""

    A: Tensor
    """(r, in)"""
    B: Tensor
    """(out, r)"""
    scale: float
    magnitude: Tensor | None = None
    """(out,) the lengths, of DoRA."""

    @property
    def rank(self) -> int:
        """r"""
        return len(self.A)

    @property
    def nbytes(self) -> int:
        """Of its tensors."""
        lengths = 0 if self.magnitude is None else self.magnitude.nbytes
        return self.A.nbytes + self.B.nbytes + lengths

    def delta(self) -> Tensor:
        """scale * B A: (out, in), float32. Of DoRA this is the change before the lengths."""
        return (self.B.float() @ self.A.float()).mul_(self.scale)

    def merged(self, weight: Tensor, strength: float = 1.0) -> Tensor:
        """The matrix with its change, computed in float32.

        Args:
            weight: W, (out, in).
            strength: how much of the change; 1 is what was trained.

        Returns:
            (out, in), in the dtype of W.
        """
        plain = weight.float()
        if self.magnitude is None:
            return torch.addmm(plain, self.B.float(), self.A.float(), alpha=self.scale * strength).to(
                weight.dtype
            )
        turned = torch.addmm(plain, self.B.float(), self.A.float(), alpha=self.scale)
        turned *= (self.magnitude.float() / turned.norm(dim=1)).unsqueeze(1)
        return (turned if strength == 1 else torch.lerp(plain, turned, strength)).to(weight.dtype)


@dataclass(frozen=True)
class AdapterWeights:
    """A whole adapter, by our names of modules and tensors."""

    modules: Mapping[str, LowRank]
    """By module: `model.layers.0.self_attn.q_proj`. Of an embedding (V, D), row i of scale * B A is added to
    embedding i, with A (r, D) and B (V, r)."""
    whole: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors in place of the base's (modules_to_save): `lm_head.weight`."""
    use_rslora: bool = False
    """Whether scales are alpha / sqrt(r): what the config says, not the values."""
    dropout: float = 0.0
    base: str | None = None
    """The model it was trained on, as the folder names it."""

    @property
    def nbytes(self) -> int:
        """Of all tensors; factors that modules share count once."""
        return sum(tensor.nbytes for tensor in {id(one): one for one in self._tensors()}.values())

    @property
    def use_dora(self) -> bool:
        """Whether any module has lengths of its own."""
        return any(one.magnitude is not None for one in self.modules.values())

    def _tensors(self) -> list[Tensor]:
        parts = [part for one in self.modules.values() for part in (one.A, one.B, one.magnitude)]
        return [part for part in parts if part is not None] + list(self.whole.values())
