"""Tables of blocks: they grow at one end, and let go at the other."""

import pytest

from llmkit.engine.block_table import BlockTable
from llmkit.engine.blocks import Block, BlockPool


def test_a_table_grows_by_all_that_is_asked_for_or_by_nothing() -> None:
    pool, table = BlockPool(5), BlockTable()
    assert table.extend(pool, 3) and [block.index for block in table] == [0, 1, 2]
    assert not table.extend(pool, 3)
    assert len(table) == 3 and pool.num_free == 2
    assert table.extend(pool, 0) and table.extend(pool, 2)
    assert len({block.index for block in table}) == 5 and pool.num_free == 0
    pool.check()


def test_numbers_follow_a_table_as_it_grows_lets_go_and_is_cut() -> None:
    table = BlockTable()
    assert table.numbers.tolist() == []
    expected: list[int] = []
    for index in (7, 3, *range(100, 160)):
        table.append(Block(index))
        expected.append(index)
        assert table.numbers.tolist() == expected
    assert table.numbers.dtype == "int32" and table.numbers.flags.c_contiguous
    assert [block.index for block in table.let_go(2)] == [7, 3]
    table.append(Block(5))
    assert table.numbers[2:].tolist() == [*range(100, 160), 5]
    assert [block.index for block in table.cut(61)] == [159, 5]
    table.append(Block(6))
    assert table.numbers[2:].tolist() == [*range(100, 159), 6] and len(table) == 62
    assert table.emptied().numbers.tolist() == []


def test_what_is_gone_counts_and_cannot_be_asked_for() -> None:
    blocks = [Block(index) for index in range(5)]
    table = BlockTable(blocks=blocks)
    assert table.let_go(3) == blocks[:3] and table.let_go(2) == []
    assert (len(table), table.num_held, table.gone, table.last) == (5, 2, 3, blocks[4])
    assert table[3] is blocks[3] and [*table] == blocks[3:]
    with pytest.raises(AssertionError):
        table[2]
    assert table.let_go(9) == blocks[3:] and (len(table), table.num_held, table.last) == (5, 0, None)


def test_a_table_may_begin_behind_what_its_text_never_needs() -> None:
    table = BlockTable()
    table.begin_at(4)
    table.append(Block(9))
    assert (len(table), table.gone, table[4].index) == (5, 4, 9)
    assert table.numbers[4] == 9 and table.cut(4) != [] and len(table) == 4


def test_an_emptied_table_keeps_what_its_text_is_found_by() -> None:
    table = BlockTable(b"root", [Block(1)])
    table.keys.append(b"key")
    empty = table.emptied()
    assert (empty.root, empty.keys, len(empty), empty.gone) == (b"root", [b"key"], 0, 0)
