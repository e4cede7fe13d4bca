"""Tensors of Mamba-2's layers in GGUF files: their names, their shapes, and back. No torch.

Shapes: W heads of Y numbers, G groups of keys and queries.
Source: ggml-org/llama.cpp `conversion/mamba.py`, `conversion/granite.py`, `src/models/mamba-base.cpp`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llmkit.model.arrays import Array
from llmkit.model.gguf.decays import decays, logarithms
from llmkit.model.shapes import Shape

MambaHow = Literal["same", "flat", "column", "decay", "by_group"]
"""
same, flat: as elsewhere, see names.py.
column: (W,) as (W, 1).
decay: A_log (W,) as -exp(A_log) (W, 1), float32.
by_group: (W Y,) as (G, W Y / G).
"""

_TENSORS: dict[str, tuple[str, MambaHow]] = {
    "in_proj.weight": ("ssm_in.weight", "same"),
    "in_proj.bias": ("ssm_in.bias", "same"),
    "conv1d.weight": ("ssm_conv1d.weight", "flat"),
    "conv1d.bias": ("ssm_conv1d.bias", "same"),
    "dt_bias": ("ssm_dt.bias", "same"),
    "A_log": ("ssm_a", "decay"),
    "D": ("ssm_d", "column"),
    "norm.weight": ("ssm_norm.weight", "by_group"),
    "out_proj.weight": ("ssm_out.weight", "same"),
    "out_proj.bias": ("ssm_out.bias", "same"),
}
"""Of a module mamba: the name in a block of a file. llama.cpp has no biases of the two products: they have
names so that a model gets as far as the check of its shape, which says so."""


@dataclass(frozen=True)
class MambaLayout:
    """What becomes of one tensor."""

    how: MambaHow
    """Neither same nor flat."""
    groups: int
    """G."""

    @property
    def is_computed(self) -> bool:
        """Whether its numbers are others in a file, for which they are made float32."""
        return self.how == "decay"

    @property
    def moves_columns(self) -> bool:
        """Nothing changes its place."""
        return False

    def pack(self, ours: Array) -> list[Array]:
        """The file's tensors."""
        numbers = decays(ours) if self.how == "decay" else ours
        return [numbers.reshape(self.shapes(ours.shape)[0])]

    def unpack(self, theirs: Sequence[Array]) -> Array:
        """The model's tensor, from one of either shape."""
        (flat,) = (one.reshape(-1) for one in theirs)
        return logarithms(flat) if self.how == "decay" else flat

    def shapes(self, ours: Shape) -> list[Shape]:
        """The shapes of the file's tensors."""
        return [(self.groups, ours[0] // self.groups) if self.how == "by_group" else (ours[0], 1)]


def mamba_tensor(block: str, inner: str) -> tuple[str, MambaHow]:
    """The file's name for a tensor, and how it is kept there.

    Args:
        block: what the names of its layer begin with.
        inner: its name within mamba.
    """
    name, how = _TENSORS[inner]
    return f"{block}.{name}", how
