"""A text's own arithmetic, and prompts scored token by token: equal to one plain pass, whoever is at work."""

from typing import Any

import numpy as np

from llmkit.engine.block_table import BlockTable
from llmkit.engine.blocks import Block
from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Request
from llmkit.engine.text import Text

PROMPT = tuple(range(2, 36))
SAMPLING = SamplingConfig(max_tokens=3, ignore_eos=True, temperature=0.0, logprobs=2)


def _text(prompt: tuple[int, ...], room: int) -> Text:
    sampler: Any = None
    request = Request(prompt, SamplingConfig(max_tokens=room))
    return Text(number=0, request=request, sampler=sampler, room=room, tokens=list(prompt))


def test_what_was_drawn_is_what_follows_the_prompt() -> None:
    text = _text((5, 6), 4)
    assert text.drawn == 0
    text.tokens += [7, 8, 9]
    assert text.drawn == 3


def test_a_prompt_that_is_scored_is_as_long_as_all_of_it_from_the_beginning() -> None:
    text = _text((5, 6, 7), 4)
    assert text.length == 3
    text.tokens, text.given = [5], [6, 7]
    assert text.length == 3
    text.give(np.zeros(9, np.float32))
    assert (text.tokens, text.length) == ([5, 6], 3)


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
    table = BlockTable(b"root", [Block(0)])
    table.keys = [b"x"]
    text.computed, text.drafts, text.tables = 2, [9], [table]
    text.forget()
    assert (text.computed, text.drafts, len(text.table)) == (0, [], 0)
    assert (text.tokens, text.table.keys, text.table.root) == ([5, 6], [b"x"], b"root")
    assert text.table is not table  # who remembers a table sees that it is another one
