"""Context parallelism: each process has some positions of every row, and attends to the keys of all of them.

All else of a layer is position by position. Keys and values are gathered once a layer, as in Llama 3
(2407.21783, section 3.3.2), and their gradients summed to where they came from; of the scores, each process
makes those of its own queries.
Shapes: B rows, K key/value heads, T positions here, S positions of a row, E numbers of a head, P processes.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llmkit.model.layout import Span
from llmkit.model.transformer import Transformer
from llmkit.train.parallel.collectives import all_gather
from llmkit.train.parallel.ranks import Share
from llmkit.train.parallel.row_cut import own_spans

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def cut_context(model: Transformer, group: "ProcessGroup", cut: Share, *, breaks: bool = False) -> None:
    """Let a model take the positions of this process alone, as `cut_rows` gives them.

    Args:
        model: changed in place; its parameters stay whole.
        group: the processes that have the rest, in their order.
        cut: which of them this is.
        breaks: its layers will be compiled, but for what travels, which is quicker than one graph.
    """
    rows = ZigzagRows(group, cut)
    if breaks:
        rows.gather = torch.compiler.disable(rows.gather)  # type: ignore[method-assign]
    model.model.row_parts = rows


class ZigzagRows:
    """See `RowParts`, and `row_cut` for who has what."""

    def __init__(self, group: "ProcessGroup", cut: Share) -> None:
        self._group = group
        self._cut = cut

    def __deepcopy__(self, memo: Any) -> "ZigzagRows":
        return self  # connections are no part of a model: a copy has them too

    def spans(self, count: int) -> list[Span]:
        """See `RowParts`."""
        return own_spans(count * self._cut.count, self._cut)

    def gather(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """See `RowParts`. Both travel as one."""
        widths = [k.shape[-1], v.shape[-1]]
        both = all_gather(torch.cat((k, v), dim=-1), self._group)  # (P, B, K, T, E + E)
        fronts, backs = zip(*(one.chunk(2, dim=2) for one in both.unbind()), strict=True)
        row = torch.cat((*fronts, *reversed(backs)), dim=2)  # (B, K, S, E + E)
        k, v = row.split(widths, dim=-1)
        return k, v
