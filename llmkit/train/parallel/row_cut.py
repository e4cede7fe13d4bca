"""Rows cut over processes: each has a piece from the front and one from the back, so that all work alike.

A causal query at position t meets t + 1 keys. Of 2 n pieces, process r of n takes the r-th and the r-th from
the end: whatever r is, that makes as many scores (2407.21783, section 3.3.2).
Shapes: B rows, T positions here, S positions of a row.
"""

from dataclasses import replace

import torch
from torch import Tensor

from llmkit.model.layout import Span
from llmkit.train.cross_entropy import IGNORED
from llmkit.train.loss import Batch
from llmkit.train.parallel.ranks import Share


def own_spans(length: int, cut: Share) -> list[Span]:
    """Where the positions of a process stand in rows of `length` positions, a multiple of 2 n."""
    piece = length // (2 * cut.count)
    return [Span(at * piece, piece, length) for at in (cut.index, 2 * cut.count - 1 - cut.index)]


def part_of_stream(values: Tensor, own: Share) -> Tensor:
    """What a process has between matrices that are cut, of (..., T) values of all positions here."""
    return values.chunk(own.count, dim=-1)[own.index]


def cut_rows(batch: Batch, cut: Share) -> Batch:
    """A batch with the positions of one process alone; segments stay those of whole rows, (B, S)."""
    if cut.count == 1:
        return batch
    spans = own_spans(batch.ids.shape[1], cut)

    def own(tensor: Tensor) -> Tensor:
        return torch.cat([tensor[:, span.start : span.end] for span in spans], dim=1)  # (B, T)

    targets = own(batch.targets)
    return replace(
        batch,
        ids=own(batch.ids),
        targets=targets,
        count=int((targets != IGNORED).sum()),
        real=None if batch.real is None else own(batch.real),
        starts=None,  # documents go on at other processes
    )
