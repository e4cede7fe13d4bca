"""Tables on the device hold what the texts' own say, little is sent there, and batches say where all is."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch

from llmkit.engine.block_table import BlockTable
from llmkit.engine.blocks import Block
from llmkit.engine.cuda import batch as batch_module
from llmkit.engine.cuda.batch import PADDING_SLOT, BlockTables, decoding_batch, mixed_batch, upload
from llmkit.engine.runner import paged_spans
from llmkit.engine.scheduler import Work
from llmkit.engine.text import Text

CPU = torch.device("cpu")
Make = Callable[..., Any]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many numbers each transfer had."""
    counts: list[int] = []

    def counted(columns: Any, device: torch.device) -> tuple[torch.Tensor, ...]:
        counts.append(sum(map(len, columns)))
        return upload(columns, device)

    monkeypatch.setattr(batch_module, "upload", counted)
    return counts


def _works(*texts: Text) -> list[Work]:
    return [Work(text, 0, 1, 0) for text in texts]


def _has(tables: BlockTables, slot: int, text: Text) -> bool:
    return tables.tensor[slot, : len(text.table)].tolist() == [block.index for block in text.table]


def test_only_new_blocks_are_sent(make_text: Make, sent: list[int]) -> None:
    tables, text = BlockTables(2, 8, 99, CPU), make_text([1], [5, 3, 7])
    (slot,) = tables.slots(_works(text))
    assert sent == [9] and _has(tables, slot, text)  # row, column and number of each
    assert tables.slots(_works(text)) == [slot] and sent == [9]
    text.table.append(Block(2))
    assert tables.slots(_works(text)) == [slot] and sent == [9, 3] and _has(tables, slot, text)


def test_a_text_that_started_again_has_its_new_blocks(make_text: Make) -> None:
    tables, text = BlockTables(2, 8, 99, CPU), make_text([1], [5, 3, 7])
    tables.slots(_works(text))
    text.forget()
    for index in (4, 6, 1):
        text.table.append(Block(index))
    (slot,) = tables.slots(_works(text))
    assert _has(tables, slot, text)


def test_the_padding_row_stays_the_scratch_block_however_many_texts_come(make_text: Make) -> None:
    tables, chance = BlockTables(3, 4, 99, CPU), random.Random(0)
    texts = [make_text([1], [number, number + 50], number=number) for number in range(9)]
    tensor = tables.tensor
    for _ in range(60):
        chosen = chance.sample(texts, chance.randint(1, 3))
        if chance.random() < 0.3:
            blocks = [Block(chance.randrange(50)) for _ in range(chance.randint(1, 4))]
            chosen[0].tables = [BlockTable(blocks=blocks)]
        slots = tables.slots(_works(*chosen))
        assert len(set(slots)) == len(slots) and PADDING_SLOT not in slots
        assert all(_has(tables, slot, text) for slot, text in zip(slots, chosen, strict=True))
        assert tensor[PADDING_SLOT].tolist() == [99] * 4
    assert tables.tensor is tensor


def test_a_mixed_batch_says_where_every_position_is(make_text: Make) -> None:
    lone, long = make_text([7, 8, 9], [3]), make_text([1, 2, 3, 4, 5, 6], [5, 2], (40, 41), number=1)
    works = [Work(lone, 2, 1, 0), Work(long, 3, 5, 2)]
    tables = BlockTables(4, 6, 9, CPU)
    batch = mixed_batch(works, paged_spans(works), tables.slots(works), tables.tensor, 4)
    assert batch.ids.tolist() == [9, 4, 5, 6, 40, 41]
    assert batch.positions.tolist() == [2, 3, 4, 5, 6, 7]
    assert batch.places.tolist() == [3 * 4 + 2, 5 * 4 + 3, 2 * 4, 2 * 4 + 1, 2 * 4 + 2, 2 * 4 + 3]
    assert batch.starts.tolist() == [0, 1, 6] and batch.lengths.tolist() == [3, 8]
    assert batch.table[1].tolist() == [5, 2] and batch.table[0, 0] == 3
    assert (batch.longest, batch.capacity) == (5, 8) and [span.start for span in batch.several] == [3]
    assert {batch.starts.dtype, batch.lengths.dtype, batch.table.dtype} == {torch.int32}


def test_a_decoding_batch_is_the_mixed_one_of_the_same_works(make_text: Make) -> None:
    texts = [make_text([*range(9)], [3, 5, 0]), make_text([*range(20, 25)], [1, 2], number=1)]
    works = [Work(text, len(text.tokens) - 1, 1, 0) for text in texts]
    tables = BlockTables(4, 6, 9, CPU)
    slots = tables.slots(works)
    mixed = mixed_batch(works, paged_spans(works), slots, tables.tensor, 4)
    inputs = torch.tensor([[8, 24], [8, 4], slots])
    alone = decoding_batch(inputs, tables.tensor, 3, 4)
    for name in ("ids", "positions", "places", "starts", "lengths", "table"):
        assert torch.equal(getattr(alone, name), getattr(mixed, name)), name
    assert (alone.longest, alone.several) == (mixed.longest, mixed.several) == (1, ())
