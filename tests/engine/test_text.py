"""A text's own arithmetic: what was drawn, how much memory it may come to need."""

from typing import Any

from llmkit.engine.blocks import Block
from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Request
from llmkit.engine.text import Text


def _text(prompt: tuple[int, ...], room: int) -> Text:
    sampler: Any = None
    request = Request(prompt, SamplingConfig(max_tokens=room))
    return Text(number=0, request=request, sampler=sampler, room=room, tokens=list(prompt))


def test_what_was_drawn_is_what_follows_the_prompt() -> None:
    text = _text((5, 6), 4)
    assert text.drawn == 0
    text.tokens += [7, 8, 9]
    assert text.drawn == 3


def test_a_text_is_ready_when_only_the_last_token_drawn_is_unread() -> None:
    text = _text((5, 6), 4)
    text.computed = 1
    assert not text.is_ready  # its prompt is not read yet
    text.tokens.append(7)
    assert not text.is_ready
    text.computed = 2
    assert text.is_ready


def test_the_last_token_that_is_drawn_needs_no_memory() -> None:
    assert _text((5, 6, 7), 4).most_positions == 6
    assert _text((5,), 1).most_positions == 1


def test_a_text_that_forgets_keeps_its_tokens_and_their_keys() -> None:
    text = _text((5, 6), 4)
    text.computed, text.drafts, text.table, text.keys = 2, [9], [Block(0)], [b"x"]
    text.forget()
    assert (text.computed, text.drafts, text.table) == (0, [], [])
    assert (text.tokens, text.keys) == ([5, 6], [b"x"])


def test_numbers_of_blocks_follow_the_table_as_it_grows_and_start_over_when_it_is_forgotten() -> None:
    text = _text((5, 6), 4)
    assert text.block_numbers.tolist() == []
    expected: list[int] = []
    for index in (7, 3, *range(100, 160)):
        text.table.append(Block(index))
        expected.append(index)
        assert text.block_numbers.tolist() == expected
    assert text.block_numbers.dtype == "int32" and text.block_numbers.flags.c_contiguous
    text.forget()
    text.table = [Block(index) for index in (2, 9)]
    assert text.block_numbers.tolist() == [2, 9]
