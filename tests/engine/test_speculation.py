"""Guesses in the engine's step: when they are asked for, what is counted, and that they change no text."""

import math
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.engine.draft_model import DraftModel
from llmkit.engine.drafts import PromptLookup, Proposer
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.gain import Gain
from llmkit.engine.module_weights import pack_model
from llmkit.engine.request import Request
from llmkit.engine.speculation_report import SpeculationReport
from llmkit.engine.text import Text
from llmkit.kernels.library import available
from llmkit.model.transformer import Transformer

Make = Callable[..., Transformer]
KERNELS = ["torch", pytest.param("native", marks=pytest.mark.skipif(not available(), reason="no kernels"))]
LONG: dict[str, Any] = {"max_position_embeddings": 700}


class Wrong:
    """Guesses that are never right, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked, self.count = 0, 3
        self.texts: set[int] = set()

    def propose(self, texts: Sequence[Text], most: Sequence[int]) -> list[list[int]]:
        self.asked += 1
        self.texts |= {text.number for text in texts}
        return [[39, 38, 37][:room] for room in most]

    def learn(self, text: Text, proposed: int, right: int) -> None:
        pass

    def forget(self, text: Text) -> None:
        self.texts.discard(text.number)


def _ticks() -> Gain:
    """Gain by a clock that is a second on each time one looks: a pass takes one, and so does guessing."""
    ticks = count()
    return Gain(lambda: float(next(ticks)))


def _request(prompt: tuple[int, ...], length: int, **settings: Any) -> Request:
    return Request(prompt, SamplingConfig(max_tokens=length, ignore_eos=True, **settings))


def _run(engine: Engine, *requests: Request) -> list[list[int]]:
    texts: dict[int, list[int]] = {engine.submit(request): [] for request in requests}
    while not engine.is_idle:
        for event in engine.step():
            assert event.drawn is not None
            texts[event.number].append(event.drawn.id)
    return list(texts.values())


def _report(engine: Engine) -> SpeculationReport:
    report = engine.speculation()
    assert report is not None
    return report


def test_wrong_guesses_turn_themselves_off_and_leave_the_text_as_it_is(make_model: Make) -> None:
    model, wrong = make_model(vocab_size=60, **LONG), Wrong()
    asked = _request((1, 2, 3), 300, logit_bias=tuple((one, -99.0) for one in (37, 38, 39)), seed=1)
    engine = Engine(model, proposer=wrong, gain=_ticks())
    assert _run(engine, asked) == _run(Engine(model), asked)
    report = _report(engine)
    assert report.accepted_tokens == 0 and report.acceptance_rate == 0.0
    assert report.tokens_per_verification == 1.0
    assert report.is_off and report.times_off == wrong.asked / 6 == 4  # again after 32, 64, 128 passes
    # 299 passes after the prompt's, a second each, and one more for each guess
    assert report.speedup == pytest.approx(299 / (299 + wrong.asked))


def test_right_guesses_stay_on_and_the_speedup_is_what_the_clock_says(make_model: Make) -> None:
    model = make_model(**LONG)
    asked = _request((1, 2, 3), 400, temperature=0.0)
    engine = Engine(model, proposer=DraftModel(model, count=4), gain=_ticks())
    assert _run(engine, asked) == _run(Engine(model), asked)
    report = _report(engine)
    assert report.acceptance_rate == 1.0 and not report.is_off and report.times_off == 0
    guessed, plain = report.verifications, engine.counts.passes - 1 - report.verifications
    assert report.proposed_tokens == report.accepted_tokens == 399 - guessed - plain
    assert 6 <= plain <= 18  # once more after 64 with guesses, and near the end where none is left to guess
    assert report.speedup == pytest.approx(399 / (2 * guessed + plain), rel=0.02)
    assert report.speedup > 2


def test_nothing_is_asked_while_a_prompt_is_read_and_nothing_learnt_from_such_a_pass(
    make_model: Make,
) -> None:
    wrong, model = Wrong(), make_model(**LONG)
    engine = Engine(model, EngineConfig(pass_tokens=8, max_texts=2), proposer=wrong)
    engine.submit(_request(tuple(range(30)), 5))
    for _ in range(4):
        engine.step()
    assert wrong.asked == 0 and engine.counts.drawn_tokens == 1
    engine.step()
    assert wrong.asked == 1 and _report(engine).verifications == 1
    gained = Engine(model, EngineConfig(pass_tokens=8, max_texts=2), proposer=wrong, gain=_ticks())
    gained.submit(_request(tuple(range(30)), 5))
    for _ in range(4):
        gained.step()
    assert _report(gained).speedup is None
    gained.step()
    assert _report(gained).speedup == 1.0


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("source", ["lookup", "model"])
@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"temperature": 0.9, "top_k": 8}], ids=str)
def test_a_text_is_the_same_whatever_the_clock_makes_of_its_guesses(
    make_model: Make, kernels: str, source: str, settings: dict[str, Any]
) -> None:
    model, small = make_model(**LONG), make_model(num_hidden_layers=2, **LONG)
    weights = model.state_dict()  # a model without its last layer guesses well enough
    small.load_state_dict({name: weights[name] for name in small.state_dict()})
    computes = pack_model(model) if kernels == "native" else model
    requests = [_request((seed, 1, 2, 1, 2), 30, seed=seed, **settings) for seed in range(4)]
    plain = _run(Engine(computes), *requests)

    def proposer() -> Proposer:
        if source == "lookup":
            return PromptLookup(shortest=1)
        return DraftModel(pack_model(small) if kernels == "native" else small)

    waves = count()
    clocks: list[Gain | None] = [
        None,
        _ticks(),
        Gain(lambda: math.sin(next(waves)), trial=1),  # by a clock that is out of order
    ]
    for gain in clocks:
        engine = Engine(computes, proposer=proposer(), gain=gain)
        assert _run(engine, *requests) == plain
        assert engine.pool.num_free == engine.pool.num_blocks
    everything = Engine(computes, proposer=proposer())
    _run(everything, *requests)
    assert _report(everything).accepted_tokens > 0


def test_a_draft_models_guesses_leave_the_distribution_as_it_is(make_model: Make) -> None:
    import torch

    model, small = make_model(vocab_size=12), make_model(vocab_size=12, num_hidden_layers=1)
    with torch.inference_mode():
        first = model(torch.tensor([[3, 1, 4]]))[0, -1].double().softmax(0)
        after = torch.stack([model(torch.tensor([[3, 1, 4, one]]))[0, -1] for one in range(12)])
    draft = DraftModel(small, count=1, positions=8192)
    engine = Engine(model, EngineConfig(positions=8192, max_texts=500), proposer=draft)
    draws, second = 1000, torch.zeros(12, dtype=torch.float64)
    for begin in range(0, draws, 500):
        asked = [_request((3, 1, 4), 3, seed=seed, temperature=1.0) for seed in range(begin, begin + 500)]
        for text in _run(engine, *asked):
            second[text[1]] += 1
    report = _report(engine)
    assert 0 < report.accepted_tokens < report.proposed_tokens
    expected = draws * (first @ after.double().softmax(1))
    chi_square = float(((second - expected) ** 2 / expected).sum())
    assert chi_square < 31.26  # 11 degrees of freedom: one run in a thousand is above, of other seeds


def test_who_leaves_is_forgotten(make_model: Make) -> None:
    wrong = Wrong()
    engine = Engine(make_model(), proposer=wrong)
    number = engine.submit(_request((1, 2), 30))
    for _ in range(3):
        engine.step()
    assert wrong.texts == {number}
    engine.abort(number)
    assert wrong.texts == set()
