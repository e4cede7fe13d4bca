"""Tensors of the gated delta rule in GGUF files: their names, the order of their heads, and back. No torch.

A model has the value heads that share a key head side by side, and so have files of Qwen3-Next. Those of
Qwen3.5 have one of each key head, then the second of each, and so on: llama.cpp repeats all key heads then,
not each of them.

Shapes: D hidden_size, G key heads of X numbers, W = G R value heads of Y, K tokens of the convolution.
Source: ggml-org/llama.cpp `conversion/qwen.py`, `src/models/qwen35.cpp`, `src/models/qwen3next.cpp`.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from llmkit.model.arrays import Array, compact, joined
from llmkit.model.config_states import DeltaConfig
from llmkit.model.gguf.decays import decays, logarithms
from llmkit.model.recurrent.key_heads import inputs_by_head
from llmkit.model.shapes import Shape

DeltaHow = Literal["same", "flat", "heads", "channels", "conv", "columns", "decay", "by_key_head"]
"""
same, flat: as elsewhere, see names.py.
heads: the rows are value heads'.
channels: so are those that come after 2 G X of queries and keys.
conv: the same of a convolution (2 G X + W Y, 1, K), which is kept as (2 G X + W Y, K).
columns: (D, W Y), the columns are value heads'.
decay: A_log (W,) as -exp(A_log), float32, also in the order of heads.
by_key_head: (G (2 X + 2 R Y), D), a key head's q, k, v and z side by side, as all q, k and v, and all z.
"""

_TENSORS: dict[str, tuple[tuple[str, ...], DeltaHow]] = {
    "in_proj_qkv.weight": (("attn_qkv.weight",), "channels"),
    "in_proj_z.weight": (("attn_gate.weight",), "heads"),
    "in_proj_b.weight": (("ssm_beta.weight",), "heads"),
    "in_proj_a.weight": (("ssm_alpha.weight",), "heads"),
    "in_proj_qkvz.weight": (("attn_qkv.weight", "attn_gate.weight"), "by_key_head"),
    "in_proj_ba.weight": (("ssm_ba.weight",), "same"),
    "conv1d.weight": (("ssm_conv1d.weight",), "conv"),
    "dt_bias": (("ssm_dt.bias",), "heads"),
    "A_log": (("ssm_a",), "decay"),
    "norm.weight": (("ssm_norm.weight",), "same"),
    "out_proj.weight": (("ssm_out.weight",), "columns"),
}
"""Of a module linear_attn: the names in a block of a file."""
_WHOLE = "ssm_in.weight"
"""in_proj_qkvz as it is, in files of before 2026."""
_WITHOUT_ORDER: dict[DeltaHow, DeltaHow] = {
    **dict.fromkeys(("heads", "channels", "columns"), "same"),
    "conv": "flat",
}


@dataclass(frozen=True)
class DeltaLayout:
    """What becomes of one tensor."""

    how: DeltaHow
    """Neither same nor flat."""
    delta: DeltaConfig

    @property
    def is_computed(self) -> bool:
        """Whether its numbers are others in a file, for which they are made float32."""
        return self.how == "decay"

    @property
    def moves_columns(self) -> bool:
        """Whether columns stand elsewhere, and rows where they were."""
        return self.how == "columns"

    @property
    def run(self) -> int:
        """Rows or columns that stay side by side: a value head's."""
        return self.delta.value_head_dim

    def pack(self, ours: Array) -> list[Array]:
        """The file's tensors."""
        G, R = self._heads
        match self.how:
            case "by_key_head":
                return [compact(ours[order]) for order in inputs_by_head(self.delta)]
            case "decay":
                return [_regrouped(decays(ours), *self._order)]
            case "conv":
                return [self._channels(ours[:, 0], G, R)]
        return [self._moved(ours, G, R)]

    def unpack(self, theirs: Sequence[Array]) -> Array:
        """The model's tensor."""
        G, R = self._heads
        first = theirs[0]
        match self.how:
            case "by_key_head":
                return compact(joined(theirs)[np.argsort(np.concatenate(inputs_by_head(self.delta)))])
            case "decay":
                return logarithms(_regrouped(first, *self._order[::-1]))
            case "conv":
                return self._channels(first, R, G).reshape(len(first), 1, -1)
        return self._moved(first, R, G)

    def shapes(self, ours: Shape) -> list[Shape]:
        """The shapes of the file's tensors."""
        if self.how == "by_key_head":
            return [(self.delta.convolved, *ours[1:]), (self.delta.value_width, *ours[1:])]
        return [(ours[0], *ours[2:])] if self.how == "conv" else [ours]

    @property
    def _heads(self) -> tuple[int, int]:
        G = self.delta.num_key_heads
        return G, self.delta.num_value_heads // G

    @property
    def _order(self) -> tuple[int, int]:
        """How many runs of how many heads change places: none do in Qwen3-Next."""
        return (1, self.delta.num_value_heads) if self.delta.inputs_by_head else self._heads

    def _moved(self, one: Array, outer: int, inner: int) -> Array:
        if self.how == "channels":
            return self._channels(one, outer, inner)
        return _regrouped(one, outer, inner, axis=1 if self.how == "columns" else 0)

    def _channels(self, one: Array, outer: int, inner: int) -> Array:
        begin = 2 * self.delta.key_width
        return joined((one[:begin], _regrouped(one[begin:], outer, inner)))


def delta_tensors(
    delta: DeltaConfig, block: str, inner: str, present: Container[str] | None
) -> tuple[tuple[str, ...], DeltaHow]:
    """The file's names for a tensor, and how it is kept there.

    Args:
        delta: of the model.
        block: what the names of its layer begin with.
        inner: its name within linear_attn.
        present: tensors of a file to be read, see `gguf_groups`.
    """
    names, how = _TENSORS[inner]
    if how == "by_key_head" and present is not None and f"{block}.{_WHOLE}" in present:
        names, how = (_WHOLE,), "same"
    one_each = delta.num_key_heads == delta.num_value_heads
    if delta.inputs_by_head or one_each:
        how = _WITHOUT_ORDER.get(how, how)
    return tuple(f"{block}.{name}" for name in names), how


def _regrouped(one: Array, outer: int, inner: int, axis: int = 0) -> Array:
    """An axis of outer times inner runs: the first run of each outer, then the second of each, and so on."""
    shape = one.shape
    runs = one.reshape(*shape[:axis], outer, inner, -1, *shape[axis + 1 :])
    return compact(runs.swapaxes(axis, axis + 1)).reshape(shape)
