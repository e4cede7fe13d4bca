"""A text's own arithmetic, and prompts scored token by token: equal to one plain pass, whoever is at work."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from llmkit.engine.block_table import BlockTable
from llmkit.engine.blocks import Block
from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.request import Request
from llmkit.engine.text import Text
from llmkit.errors import DataError
from llmkit.model.transformer import Transformer

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


def plain_scores(model: Transformer) -> list[float]:
    """Of every token but the first, from one pass."""
    ids = torch.tensor([PROMPT])
    with torch.no_grad():
        scores = model(ids).float().log_softmax(-1)[0, :-1]
    return scores.gather(1, ids[0, 1:, None])[:, 0].tolist()


@pytest.mark.parametrize("pass_tokens", [1, 7, 64])
def test_scores_equal_a_plain_pass_in_parts_of_any_size(
    pass_tokens: int, make_model: Callable[..., Transformer]
) -> None:
    model = make_model()
    engine = Engine(model, EngineConfig(pass_tokens=pass_tokens, max_texts=1))
    found = list(engine.run(Request(PROMPT, SAMPLING, scores_prompt="only")))
    assert [one.id for one in found] == list(PROMPT[1:]) and found[-1].finish == "length"
    scores = [one.score.logprob for one in found if one.score is not None]
    assert scores == pytest.approx(plain_scores(model), abs=1e-5)
    assert all(len(one.top) == 2 and one.top[0].logprob >= one.top[1].logprob for one in found)
    assert engine.pool.num_free == engine.pool.num_blocks


@pytest.mark.parametrize("kind", ["longrope", "dynamic"])
def test_a_prompt_beyond_the_original_context_is_scored_in_parts_and_none_of_it_is_read_twice(
    kind: str, make_model: Callable[..., Transformer]
) -> None:
    factors = {"short_factor": [1.0, 1.5], "long_factor": [3.0, 7.0]} if kind == "longrope" else {}
    scaling = {"rope_type": kind, "factor": 3.0, **factors, "original_max_position_embeddings": 16}
    model = make_model(rope_scaling=scaling)
    engine = Engine(model, EngineConfig(pass_tokens=15, max_texts=1))  # 1, 2, 17, … are known
    found = list(engine.run(Request(PROMPT, SAMPLING, scores_prompt="only")))
    scores = [one.score.logprob for one in found if one.score is not None]
    assert scores == pytest.approx(plain_scores(model), abs=1e-5)
    assert engine.counts.computed_tokens == len(PROMPT)


@pytest.mark.parametrize("positions", [0, 48])
def test_a_prompt_that_fills_the_context_is_scored_to_its_end(
    positions: int, make_model: Callable[..., Transformer]
) -> None:
    model = make_model()
    full = tuple(2 + place % 30 for place in range(model.config.max_position_embeddings))
    full = full[: positions or len(full)]
    engine = Engine(model, EngineConfig(positions=len(full), block_tokens=4, max_texts=2))
    found = list(engine.run(Request(full, SAMPLING, scores_prompt="only")))
    assert [one.id for one in found] == list(full[1:])
    with torch.no_grad():
        rows = model(torch.tensor([full]))[0].log_softmax(-1)
    last = found[-1].score
    assert last is not None and last.logprob == pytest.approx(float(rows[-2, full[-1]]), abs=1e-5)


def test_a_listener_gets_the_row_of_every_place(make_model: Callable[..., Transformer]) -> None:
    model = make_model()
    engine, heard = Engine(model, EngineConfig(pass_tokens=7)), []
    engine.on_rows = lambda number, rows: heard.append((number, rows))
    list(engine.run(Request(PROMPT, SAMPLING, scores_prompt="only")))
    rows = np.concatenate([rows for _, rows in heard])
    with torch.no_grad():
        expected = model(torch.tensor([PROMPT]))[0]
    assert {number for number, _ in heard} == {0}
    assert np.allclose(rows[: len(PROMPT) - 1], expected[:-1].numpy(), atol=1e-5)


@pytest.mark.parametrize("logprobs", [None, 2])
def test_scores_of_a_prompt_that_are_no_numbers_are_bad_data(logprobs: int | None) -> None:
    text = _text((5, 6), 1)
    text.request = Request((5, 6), SamplingConfig(logprobs=logprobs), scores_prompt="only")
    text.tokens, text.given = [5], [6]
    with pytest.raises(DataError, match="not finite"):
        text.give(np.full(9, np.nan, np.float32))


def test_what_is_drawn_after_a_scored_prompt_is_what_is_drawn_anyway(
    make_model: Callable[..., Transformer],
) -> None:
    model = make_model()
    plain = [one.id for one in Engine(model).run(Request(PROMPT, SAMPLING))]
    found = list(Engine(model).run(Request(PROMPT, SAMPLING, scores_prompt="too")))
    assert [one.id for one in found if not one.given] == plain


def test_a_tiny_cache_that_makes_texts_start_again_changes_no_score(
    make_model: Callable[..., Transformer],
) -> None:
    model = make_model()
    engine = Engine(model, EngineConfig(positions=48, block_tokens=4, max_texts=3, pass_tokens=8))
    numbers = [engine.submit(Request(PROMPT, SAMPLING, scores_prompt="too")) for _ in range(3)]
    scores: dict[int, list[float]] = {number: [] for number in numbers}
    while not engine.is_idle:
        for event in engine.step():
            assert event.drawn is not None and event.drawn.score is not None
            if event.drawn.given:
                scores[event.number].append(event.drawn.score.logprob)
    for found in scores.values():
        assert found == pytest.approx(plain_scores(model), abs=1e-5)


def test_only_the_end_of_a_prompt_can_be_scored_and_its_beginning_comes_from_the_cache(
    make_model: Callable[..., Transformer],
) -> None:
    model = make_model()
    engine = Engine(model, EngineConfig(block_tokens=4, pass_tokens=7))
    first = len(PROMPT) - 3
    for _ in range(2):
        found = list(engine.run(Request(PROMPT, SAMPLING, scores_prompt="only", scores_from=first)))
        assert [one.id for one in found] == list(PROMPT[first:])
        scores = [one.score.logprob for one in found if one.score is not None]
        assert scores == pytest.approx(plain_scores(model)[first - 1 :], abs=1e-5)
    found_in_cache = (first - 1) // 4 * 4  # whole blocks, and never the last token before those scored
    assert engine.counts.computed_tokens == 2 * len(PROMPT) - found_in_cache
