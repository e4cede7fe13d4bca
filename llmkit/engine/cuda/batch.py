"""The new positions of a pass as tensors on the device, and the block tables that stay there between passes.

Shapes: N texts, T new positions of all of them, W blocks of a table, C blocks that a text may have at most.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.engine.block_table import BlockTable
from llmkit.engine.pass_runner import known_ids
from llmkit.engine.scheduler import Work
from llmkit.engine.store import PagedSpan

PADDING_SLOT = 0
"""The row of the tables that belongs to no text: all of it is the scratch block."""


@dataclass(frozen=True)
class PagedBatch:
    """Where the new positions of a pass stand, and where their memory is."""

    ids: Tensor
    """(T,) int64, text after text."""
    positions: Tensor
    """(T,) int64, each within its text."""
    places: Tensor
    """(T,) int64, rows of the store that the new keys and values go to."""
    starts: Tensor
    """(N + 1,) int32, where each text's new positions begin among all, and where the last one's end."""
    lengths: Tensor
    """(N,) int32, positions that each text has after the pass."""
    table: Tensor
    """(N, W) int32, the blocks of each text. Behind those that it has stands anything."""
    block_tokens: int
    longest: int = 1
    """Most new positions of one text."""
    several: tuple[PagedSpan, ...] = ()
    """Texts with more than one new position. They come last, so that the others can go in one piece."""

    @property
    def capacity(self) -> int:
        """Positions that W blocks have room for."""
        return self.table.shape[1] * self.block_tokens


def decoding_batch(inputs: Tensor, tables: Tensor, width: int, block_tokens: int) -> PagedBatch:
    """A batch of one new position a text, made on the device alone, so that a graph can have it recorded.

    Args:
        inputs: (3, N) int64: ids, positions, and rows of the tables.
        tables: (rows, C) int32.
        width: W, at least the blocks of the longest text.
        block_tokens: positions of a block.
    """
    ids, positions, slots = inputs.unbind()
    table = tables.index_select(0, slots)[:, :width]
    owners = torch.arange(len(ids), device=inputs.device)
    return PagedBatch(
        ids=ids,
        positions=positions,
        places=_places(table, owners, positions, block_tokens),
        starts=torch.arange(len(ids) + 1, dtype=torch.int32, device=inputs.device),
        lengths=(positions + 1).int(),
        table=table,
        block_tokens=block_tokens,
    )


def mixed_batch(
    works: Sequence[Work], spans: Sequence[PagedSpan], slots: Sequence[int], tables: Tensor, block_tokens: int
) -> PagedBatch:
    """A batch of any number of new positions a text.

    Args:
        works: what is computed, texts with one new position first.
        spans: of each.
        slots: the row of the tables of each.
        tables: (rows, C) int32.
        block_tokens: positions of a block.
    """
    columns = [
        [one for work in works for one in known_ids(work)],
        [at for span in spans for at in range(span.start, span.end)],
        [owner for owner, span in enumerate(spans) for _ in range(span.count)],
        list(slots),
        [0, *(span.first + span.count for span in spans)],
        [span.end for span in spans],
    ]
    ids, positions, owners, rows, starts, lengths = upload(columns, tables.device)
    width = max(-(-span.end // block_tokens) for span in spans)
    table = tables.index_select(0, rows)[:, :width]
    return PagedBatch(
        ids=ids,
        positions=positions,
        places=_places(table, owners, positions, block_tokens),
        starts=starts.int(),
        lengths=lengths.int(),
        table=table,
        block_tokens=block_tokens,
        longest=max(span.count for span in spans),
        several=tuple(span for span in spans if span.count > 1),
    )


def upload(columns: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, ...]:
    """Lists of whole numbers as int64 tensors on a device: one transfer, which nobody waits for."""
    flat = torch.tensor([one for column in columns for one in column], pin_memory=device.type == "cuda")
    return flat.to(device, non_blocking=True).split([len(column) for column in columns])


def _places(table: Tensor, owners: Tensor, positions: Tensor, block_tokens: int) -> Tensor:
    blocks = table[owners, positions // block_tokens].long()
    return blocks * block_tokens + positions % block_tokens


@dataclass
class _Row:
    """What the device knows of a text's blocks."""

    slot: int
    source: BlockTable | None = None
    """The text's own. It grows, or another one takes its place: see `Text.forget`."""
    count: int = 0
    """Blocks of it that have been written."""


class BlockTables:
    """The blocks of texts, a row each, on the device. Only what is new to it is sent there."""

    def __init__(self, texts: int, columns: int, scratch: int, device: torch.device) -> None:
        """
        Args:
            texts: most in a pass.
            columns: C.
            scratch: the block that padding writes to; no text has it.
            device: where the tables are.
        """
        self.tensor = torch.full((texts + 1, columns), scratch, dtype=torch.int32, device=device)
        """(texts + 1, C) int32. It is never replaced, as recorded graphs read it."""
        self._rows: OrderedDict[int, _Row] = OrderedDict()
        self._texts = texts

    def slots(self, works: Sequence[Work]) -> list[int]:
        """The row of each work's text, brought up to date. A text unused for longest gives up its row."""
        slots, columns, blocks, found = [], [], [], []
        for work in works:
            row = self._row(work.text.number)
            table = work.text.table
            if row.source is not table:
                row.source, row.count = table, 0
            found.append(row.slot)
            for column in range(row.count, len(table)):
                slots.append(row.slot)
                columns.append(column)
                blocks.append(table[column].index)
            row.count = len(table)
        if slots:
            device_slots, device_columns, values = upload((slots, columns, blocks), self.tensor.device)
            self.tensor.index_put_((device_slots, device_columns), values.int())
        return found

    def _row(self, number: int) -> _Row:
        row = self._rows.pop(number, None)
        if row is None:
            if len(self._rows) < self._texts:
                row = _Row(PADDING_SLOT + 1 + len(self._rows))
            else:  # works are no more than rows, so the oldest row is of no work before this one
                row = _Row(self._rows.popitem(last=False)[1].slot)
        self._rows[number] = row
        return row
