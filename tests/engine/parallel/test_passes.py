"""Passes as messages: what is read is what was planned, whatever the reader remembers."""

from dataclasses import replace

import numpy as np

from llmkit.engine.block_table import BlockTable
from llmkit.engine.blocks import Block
from llmkit.engine.config import SamplingConfig
from llmkit.engine.parallel.passes import Memory, PassReader, encode_pass
from llmkit.engine.pass_runner import known_ids
from llmkit.engine.runner import paged_spans
from llmkit.engine.scheduler import Work
from tests.written_texts import known

ASKED = SamplingConfig(max_tokens=1)


def assert_same_spans(read: list[Work], planned: list[Work]) -> None:
    """Arrays have no truth of their own, so that spans cannot be compared whole."""
    for one, other in zip(paged_spans(read), paged_spans(planned), strict=True):
        assert replace(one, tables=()) == replace(other, tables=())
        assert np.array_equal(one.tables, other.tables)


def test_a_pass_that_is_read_is_the_pass_that_was_planned() -> None:
    prompt, drafting = (
        known(4, [5, 6, 7, 8, 9], [3, 1, 2]),
        known(9, [50, 60], [7], drafts=(61, 62)),
    )
    works = [Work(prompt, 1, 3, 0), Work(drafting, 1, 3, 2)]
    memory, read = PassReader(8).read(encode_pass(works, Memory(2, 40, (1,))))
    assert memory == Memory(2, 40, (1,))
    assert [known_ids(one) for one in read] == [[6, 7, 8], [60, 61, 62]]
    assert_same_spans(read, works)
    assert [one.completes for one in read] == [False, True]
    assert np.array_equal(read[0].text.table.numbers, [3, 1, 2])


def test_of_a_prompt_that_is_scored_is_told_how_long_all_of_it_is() -> None:
    planned = known(3, [5, 6, 7, 8, 9, 10], [3, 1], drafts=(7, 8))
    planned.tokens, planned.given = [5, 6], [7, 8, 9, 10]
    works = [Work(planned, 0, 4, 2)]
    reader = PassReader(8)
    _, read = reader.read(encode_pass(works))
    assert_same_spans(read, works)
    assert paged_spans(read)[0].reach == 6
    assert known_ids(read[0]) == [5, 6, 7, 8] and read[0].completes
    planned.tokens, planned.given, planned.drafts = [5, 6, 7, 8, 9, 10, 11], [], []
    works = [Work(planned, 6, 1, 0)]
    _, read = reader.read(encode_pass(works))
    assert_same_spans(read, works)
    assert read[0].completes


def test_a_table_grows_in_its_place_until_the_text_gets_other_blocks() -> None:
    reader, planned = PassReader(8), known(0, [1, 2, 3], [5, 6])
    _, (first,) = reader.read(encode_pass([Work(planned, 0, 2, 0)]))
    table = first.text.table
    planned.table.append(Block(8))
    _, (second,) = reader.read(encode_pass([Work(planned, 2, 1, 0)]))
    assert second.text.table is table and [one.index for one in table] == [5, 6, 8]
    planned.forget()
    planned.tables = [BlockTable(blocks=[Block(5), Block(9)])]
    _, (third,) = reader.read(encode_pass([Work(planned, 0, 3, 0)]))
    assert third.text.table is not table
    assert np.array_equal(third.text.table.numbers, [5, 9])


def test_a_text_that_was_forgotten_is_read_all_the_same() -> None:
    reader = PassReader(1)
    planned = [known(number, [number, 7], [number]) for number in range(3)]
    for one in (*planned, planned[0]):
        one.table.append(Block(10 + one.number))
        _, (read,) = reader.read(encode_pass([Work(one, 1, 1, 0)]))
        assert np.array_equal(read.text.table.numbers, [block.index for block in one.table])
