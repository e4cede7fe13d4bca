"""The stopwatch: what a hand-set clock must give, alone and with several texts in a pass."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.engine.completion import complete_all
from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.meter import Meter
from llmkit.engine.request import Request
from llmkit.model.load import load_model


class Clock:
    """Each look is one second later than the last."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def start(tiny_model: Callable[..., Any]) -> Callable[..., Meter]:
    folder = tiny_model()

    def make(**config: Any) -> Meter:
        return Meter(Engine(load_model(folder), EngineConfig(**config)), Clock())

    return make


def _run(meter: Meter, *prompts: int, tokens: int = 4, seed: int = 1) -> None:
    sampling = SamplingConfig(max_tokens=tokens, temperature=0.0, ignore_eos=True)
    requests = [
        Request(tuple((seed + 5 * n + i) % 48 for i in range(size)), sampling)
        for n, size in enumerate(prompts)
    ]
    assert all(piece.token is not None for piece in complete_all(meter, requests, None))


def test_of_one_text_the_prompts_passes_are_prefill_and_all_others_decode(
    start: Callable[..., Meter],
) -> None:
    meter = start(pass_tokens=4, max_texts=1)
    _run(meter, 10)  # passes of 4, 4 and 2 tokens draw the first, three passes of one token the others
    timing = meter.timing
    assert (timing.prefill_tokens, timing.prefill_seconds) == (10, 3)
    assert (timing.decode_tokens, timing.decode_seconds) == (3, 3)
    assert timing.prefill_tokens_per_second == 10 / 3 and timing.decode_tokens_per_second == 1
    assert timing.mean_first_seconds == timing.longest_first_seconds == 6  # submitted at 1, drawn at 7


def test_what_the_cache_has_is_not_read_again(start: Callable[..., Meter]) -> None:
    meter = start(block_tokens=4, positions=64)
    _run(meter, 10)
    before = meter.timing.prefill_tokens
    _run(meter, 10)
    assert before == 10 and meter.timing.prefill_tokens - before == 2
    assert meter.engine.counts.cached_tokens == 8


def test_a_pass_of_both_kinds_is_shared_out_by_its_tokens(start: Callable[..., Meter]) -> None:
    meter = start(pass_tokens=6, max_texts=2, positions=64, reuse=False)
    _run(meter, 5, 8, tokens=3)
    # passes: 5 + 1 of prompts | 1 drawn + 5 of a prompt | 1 drawn + 2 of a prompt | 1 | 1
    timing = meter.timing
    assert timing.prefill_tokens == 13 and timing.decode_tokens == 2 + 2
    assert timing.prefill_seconds == pytest.approx(1 + 5 / 6 + 2 / 3)
    assert timing.prefill_seconds + timing.decode_seconds == pytest.approx(5)
    assert timing.texts == 2


def test_where_nothing_was_done_there_is_no_speed(start: Callable[..., Meter]) -> None:
    timing = start().timing
    assert timing.mean_first_seconds is timing.prefill_tokens_per_second is None
    assert timing.decode_tokens_per_second is None


def test_a_text_given_up_has_no_first_token(start: Callable[..., Meter]) -> None:
    meter = start()
    meter.abort(meter.submit(Request((1, 2), SamplingConfig())))
    assert meter.is_idle and meter.timing.texts == 0 and meter.max_texts == 32
