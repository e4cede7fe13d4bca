"""Guesses by a smaller model: those of its own greedy text, whatever the bigger one makes of them."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from llmkit.engine.config import SamplingConfig
from llmkit.engine.draft_model import DraftModel
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.module_weights import pack_model
from llmkit.engine.request import Request
from llmkit.kernels.library import available
from llmkit.model.transformer import Transformer
from tests.written_texts import known

Make = Callable[..., Transformer]
LONGROPE = {
    **{"rope_type": "longrope", "factor": 3.0, "short_factor": [1.0, 1.5], "long_factor": [3.0, 7.0]},
    "original_max_position_embeddings": 16,
}
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "original_max_position_embeddings": 16}
KERNELS = ["torch", pytest.param("native", marks=pytest.mark.skipif(not available(), reason="no kernels"))]
BIG: dict[str, Any] = {"max_position_embeddings": 200}
SMALL: dict[str, Any] = {"num_hidden_layers": 1, "max_position_embeddings": 200}


def _draft(model: Transformer, kernels: str, **settings: Any) -> DraftModel:
    return DraftModel(pack_model(model) if kernels == "native" else model, **settings)


def _slow(model: Transformer, tokens: list[int], count: int) -> list[int]:
    """The model's greedy text, each token from one full pass."""
    found: list[int] = []
    with torch.inference_mode():
        while len(found) < count:
            found.append(int(model(torch.tensor([[*tokens, *found]]))[0, -1].argmax()))
    return found


@pytest.mark.parametrize("kernels", KERNELS)
def test_guesses_are_the_smaller_models_greedy_text_whatever_became_of_the_last(
    make_model: Make, kernels: str
) -> None:
    model, chance = make_model(**SMALL), random.Random(0)
    draft = _draft(model, kernels, count=4, positions=800, block_tokens=4)
    texts = [known(n, [chance.randrange(40) for _ in range(chance.randint(1, 30))]) for n in range(5)]
    for _ in range(12):
        chosen = chance.sample(texts, 3)
        most = [chance.randint(0, 5) for _ in chosen]
        guesses = draft.propose(chosen, most)
        for text, room, guess in zip(chosen, most, guesses, strict=True):
            assert guess == _slow(model, text.tokens, min(4, room))
            right = chance.randint(0, len(guess))
            text.tokens += [*guess[:right], chance.randrange(40)]
        draft.pool.check()
    for text in texts:
        draft.forget(text)
        draft.forget(text)
    draft.pool.check()
    assert draft.pool.num_free == draft.pool.num_blocks and draft._readings == {}


SLIDING: dict[str, Any] = {
    **{"model_type": "qwen2", "attention_bias": True, "num_hidden_layers": 3, "sliding_layers": (0, 2)},
    **{"sliding_window": 8, "max_position_embeddings": 600},
}


@pytest.mark.parametrize("kernels", KERNELS)
def test_what_windows_have_passed_is_let_go_and_guesses_stay_the_same(make_model: Make, kernels: str) -> None:
    model, chance = make_model(**SLIDING), random.Random(3)
    draft = _draft(model, kernels, count=4, positions=600, block_tokens=4, max_texts=2, pass_tokens=32)
    # of a layer each: all positions; and for two texts and as many again 7, a tile's 63 and one, and a pass
    assert draft.pool.num_blocks == 150 + 2 * (2 * 2 * (18 + 1) + 8)
    texts = [known(n, [chance.randrange(40) for _ in range(length)]) for n, length in enumerate((3, 250))]
    made = 0
    for _ in range(60):
        for text, guess in zip(texts, draft.propose(texts, [4, 4]), strict=True):
            assert guess in ([], _slow(model, text.tokens, 4))  # none while a long one is read
            made += bool(guess)
            right = chance.randint(0, len(guess))
            text.tokens += [*guess[:right], chance.randrange(40)]
        draft.pool.check()
    assert made > 100
    whole, *windowed = draft._readings[1].tables
    assert whole.num_held >= 300 / 4 and all(table.num_held <= (8 + 64 + 32) / 4 + 1 for table in windowed)
    for text in texts:
        draft.forget(text)
    assert draft.pool.num_free == draft.pool.num_blocks


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Tokens of each pass of any model's modules but of single tokens."""
    found: list[int] = []
    hidden = Transformer.hidden

    def count(self: Transformer, ids: torch.Tensor, **rest: Any) -> torch.Tensor:
        found.append(ids.shape[1])
        return hidden(self, ids, **rest)

    monkeypatch.setattr(Transformer, "hidden", count)
    yield found


def test_a_text_that_begins_as_one_before_is_read_from_there(make_model: Make, reads: list[int]) -> None:
    model = make_model(**SMALL)
    draft = DraftModel(model, count=1, block_tokens=4)
    first = known(0, list(range(10)))
    draft.propose([first], [1])
    first.tokens += [1, 2, 3]
    draft.propose([first], [1])
    draft.forget(first)  # 12 of 13 positions are read and known
    again = known(1, [*range(10), 1, 2, 3, 4, 5])
    other = known(2, [*range(9), 7, 7, 7])
    assert draft.propose([again, other], [1, 1]) == [
        _slow(model, again.tokens, 1),
        _slow(model, other.tokens, 1),
    ]
    assert reads[:3] == [10, 3, 3 + 4]


def test_what_was_guessed_wrong_is_never_found_by_another_text(make_model: Make) -> None:
    model = make_model(**SMALL)
    draft = DraftModel(model, count=9, positions=200, block_tokens=2)
    first = known(0, [1, 2, 3])
    (guess,) = draft.propose([first], [9])
    first.tokens.append((guess[0] + 1) % 40)
    draft.propose([first], [9])
    draft.forget(first)
    for tokens in ([1, 2, 3, *guess], [*first.tokens, 5], [*first.tokens, *guess]):
        assert draft.propose([known(len(tokens) + guess[0] * 99, tokens)], [4]) == [_slow(model, tokens, 4)]


def test_a_long_prompt_is_read_in_parts_and_guesses_come_behind_it(make_model: Make) -> None:
    model = make_model(**SMALL)
    draft = DraftModel(model, count=3, pass_tokens=8, positions=200)
    long, short = known(0, list(range(20))), known(1, [5, 6])
    assert draft.propose([long, short], [9, 9]) == [[], []]
    assert draft.propose([long, short], [9, 9]) == [[], []]
    expected = [_slow(model, long.tokens, 3), _slow(model, short.tokens, 3)]
    assert draft.propose([long, short], [9, 9]) == expected  # the last 4, and the other's 2


def test_memory_is_bounded_and_who_has_none_gets_no_guesses(make_model: Make) -> None:
    model = make_model(**SMALL)
    draft = DraftModel(model, count=4, positions=16, block_tokens=4)
    assert draft._store.nbytes == 2 * 16 * 4 * 4 * 4  # K and V, positions, heads, head_dim, float32
    first, second = known(0, [1, 2, 3, 4, 5]), known(1, [6, 7, 8, 9, 1, 2])
    guesses = draft.propose([first, second], [4, 4])
    assert guesses == [_slow(model, first.tokens, 4), []]
    draft.forget(first)
    assert draft.propose([second], [4]) == [_slow(model, second.tokens, 4)]
    assert draft.pool.num_free == 1


def test_no_guess_goes_beyond_the_smaller_models_context(make_model: Make) -> None:
    model = make_model(num_hidden_layers=1, max_position_embeddings=12)
    draft = DraftModel(model, count=4, positions=200)
    tokens = list(range(14))
    lengths = [len(draft.propose([known(n, tokens[:n])], [9])[0]) for n in (8, 9, 10, 11, 12, 13, 14)]
    assert lengths == [4, 4, 3, 2, 1, 0, 0]


@pytest.mark.parametrize("scaling", [LONGROPE, DYNAMIC], ids=["longrope", "dynamic"])
def test_where_rotations_depend_on_length_guesses_end_where_they_change(
    make_model: Make, scaling: dict[str, Any]
) -> None:
    model = make_model(num_hidden_layers=1, rope_scaling=scaling)
    draft = DraftModel(model, count=9, positions=200)
    text = known(0, list(range(12)))
    assert draft.propose([text], [9]) == [_slow(model, text.tokens, 5)]
    text.tokens += [1] * 5
    assert draft.propose([text], [9]) == [[]]


def test_tokens_that_only_one_of_the_models_has_are_neither_read_nor_guessed(make_model: Make) -> None:
    model = make_model(**SMALL)
    best = _slow(model, [1, 2, 3], 1)[0]
    narrow = DraftModel(model, count=2, vocab_size=best)
    assert narrow.propose([known(0, [1, 2, 3])], [2])[0][0] < best
    wide = DraftModel(model, count=2, vocab_size=60)
    text = known(0, [1, 2, 3])
    assert wide.propose([text], [2]) == [_slow(model, text.tokens, 2)]
    text.tokens += [50, 3]
    assert wide.propose([text], [2]) == [[]]
    wide.forget(text)
    assert wide.pool.num_free == wide.pool.num_blocks


def _run(engine: Engine, requests: list[Request]) -> list[list[int]]:
    texts: dict[int, list[int]] = {engine.submit(request): [] for request in requests}
    while not engine.is_idle:
        for event in engine.step():
            assert event.drawn is not None
            texts[event.number].append(event.drawn.id)
        engine.pool.check()
    return list(texts.values())


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("positions", [2000, 90])
def test_texts_are_the_same_with_a_draft_model_and_without(
    make_model: Make, kernels: str, temperature: float, positions: int
) -> None:
    model, small = make_model(**BIG), make_model(**SMALL)
    computes = pack_model(model) if kernels == "native" else model
    requests = [
        Request(
            tuple(range(seed % 3, 5 + seed)),
            SamplingConfig(max_tokens=25, temperature=temperature, seed=seed, ignore_eos=True),
        )
        for seed in range(6)
    ]
    config = EngineConfig(positions=positions, block_tokens=4)
    plain = Engine(computes, config)
    draft = _draft(small, kernels, positions=300, block_tokens=4)
    guessing = Engine(computes, config, proposer=draft)
    assert _run(guessing, requests) == _run(plain, requests)
    report = guessing.speculation()
    assert report is not None and plain.speculation() is None
    assert 0 < report.accepted_tokens < report.proposed_tokens
    assert (guessing.counts.restarts > 0) == (positions == 90)
    assert draft.pool.num_free == draft.pool.num_blocks and draft._readings == {}
    draft.pool.check()


@pytest.mark.parametrize("kernels", KERNELS)
def test_a_model_that_guesses_for_itself_is_always_right(make_model: Make, kernels: str) -> None:
    model = make_model(**BIG)
    computes = pack_model(model) if kernels == "native" else model
    draft = DraftModel(computes, count=4, positions=500)
    engine = Engine(computes, EngineConfig(positions=500), proposer=draft)
    sampling = SamplingConfig(max_tokens=1 + 5 * 6, temperature=0.0, ignore_eos=True)
    requests = [Request((1, 2, 3), sampling), Request((9,), sampling)]
    texts = _run(engine, requests)
    assert texts == [_slow(model, [1, 2, 3], 31), _slow(model, [9], 31)]
    report = engine.speculation()
    assert report is not None
    assert (report.acceptance_rate, report.tokens_per_verification) == (1.0, 5.0)
    assert report.verifications == 2 * 6 and engine.counts.passes == 1 + 6
    assert (report.speedup, report.is_off) == (None, False)  # nobody measured


def test_texts_given_up_leave_nothing_behind(make_model: Make) -> None:
    draft = DraftModel(make_model(**SMALL), positions=120, block_tokens=4)
    engine = Engine(make_model(**BIG), EngineConfig(positions=200, block_tokens=4), proposer=draft)
    chance, open_ = random.Random(1), list[int]()
    for seed in range(150):
        prompt = tuple(chance.randrange(3) for _ in range(chance.randint(1, 12)))
        open_.append(engine.submit(Request(prompt, SamplingConfig(max_tokens=20, seed=seed))))
        for _ in range(chance.randrange(3)):
            engine.step()
        while len(open_) > 4:
            engine.abort(open_.pop(chance.randrange(len(open_))))
        draft.pool.check()
    for number in open_:
        engine.abort(number)
    assert draft.pool.num_free == draft.pool.num_blocks and draft._readings == {}
