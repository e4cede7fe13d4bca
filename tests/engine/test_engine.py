"""The engine: every text as if it were alone, whatever goes on beside it and whatever goes wrong."""

import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.engine.config import SamplingConfig
from llmkit.engine.drafts import PromptLookup
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.request import Drawn, Event, Request
from llmkit.engine.sampling import Sampler
from llmkit.engine.text import Text
from llmkit.errors import DataError, ResourceError, UsageError
from llmkit.model.load import load_model
from llmkit.model.transformer import Transformer

Make = Callable[..., Transformer]
GREEDY: dict[str, Any] = {"temperature": 0.0, "ignore_eos": True}
LONGROPE = {
    **{"rope_type": "longrope", "factor": 3.0, "short_factor": [1.0, 1.5], "long_factor": [3.0, 7.0]},
    "original_max_position_embeddings": 16,
}
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "original_max_position_embeddings": 16}


class Oracle:
    """Guesses that are right as often as is asked: it has read the text before."""

    def __init__(self, texts: dict[tuple[int, ...], list[int]], share: float = 1.0, count: int = 5) -> None:
        self.texts = texts
        self.share = share
        self.count = count
        self.random = random.Random(0)

    def propose(self, texts: Sequence[Text], most: Sequence[int]) -> list[list[int]]:
        return [self.guess(text, room) for text, room in zip(texts, most, strict=True)]

    def guess(self, text: Text, most: int) -> list[int]:
        known = self.texts[text.request.prompt][text.drawn :]
        return [
            one if self.random.random() < self.share else (one + 1) % 40
            for one in known[: min(most, self.count)]
        ]

    def learn(self, text: Text, proposed: int, right: int) -> None:
        assert 0 <= right <= proposed

    def forget(self, text: Text) -> None:
        pass


def _ids(drawn: list[Drawn]) -> list[int]:
    return [token.id for token in drawn]


def _run(engine: Engine, prompt: list[int], **settings: object) -> list[Drawn]:
    return list(engine.run(Request(tuple(prompt), SamplingConfig(**settings))))  # type: ignore[arg-type]


def _request(prompt: list[int] | tuple[int, ...], **settings: Any) -> Request:
    return Request(tuple(prompt), SamplingConfig(**settings))


def _drain(engine: Engine) -> dict[int, list[Event]]:
    """Every event until no text is left, by text."""
    events: dict[int, list[Event]] = {}
    while not engine.is_idle:
        for event in engine.step():
            events.setdefault(event.number, []).append(event)
        engine.pool.check()
    assert engine.pool.num_free == engine.pool.num_blocks
    return events


def _texts(events: dict[int, list[Event]]) -> list[list[int]]:
    return [[one.drawn.id for one in events[number] if one.drawn is not None] for number in sorted(events)]


def test_greedy_ids_are_those_that_transformers_published(trained: Path) -> None:
    reference = json.loads((trained / "reference.json").read_text())
    model = load_model(trained)
    for one in reference["greedy"]:
        room = model.config.max_position_embeddings - len(one["prompt_ids"])
        expected = one["greedy_ids"][:room]
        drawn = _run(Engine(model), one["prompt_ids"], max_tokens=len(one["greedy_ids"]), **GREEDY)
        assert _ids(drawn) == expected


@pytest.mark.parametrize("name", ["stories260K", "char-gpt-shakespeare"])
def test_ids_are_those_of_transformers_generate_with_penalties_and_an_end(
    name: str, shared_data: Path
) -> None:
    from transformers import AutoModelForCausalLM, GenerationConfig

    folder = shared_data / "models" / name
    theirs, engine = AutoModelForCausalLM.from_pretrained(folder), Engine(load_model(folder), stop_ids=[13])
    prompt = [1, 40, 12]
    for penalty in (1.0, 1.3):
        settings = GenerationConfig(
            max_new_tokens=40,
            do_sample=False,
            repetition_penalty=penalty,
            eos_token_id=[2, 13],
            pad_token_id=0,
        )
        expected = theirs.generate(torch.tensor([prompt]), generation_config=settings)[0, len(prompt) :]
        drawn = _run(engine, prompt, max_tokens=40, temperature=0.0, repetition_penalty=penalty)
        assert _ids(drawn) == expected.tolist()
        assert drawn[-1].finish == ("stop" if drawn[-1].id in (2, 13) else "length")


def test_each_token_is_drawn_from_the_scores_of_one_full_pass(stories: Transformer) -> None:
    prompt = [1, 403, 407, 261, 378]
    drawn = _run(Engine(stories), prompt, max_tokens=60, logprobs=5, temperature=1.0, seed=4)
    with torch.inference_mode():
        logprobs = stories(torch.tensor([[*prompt, *_ids(drawn)]]))[0].log_softmax(1)
    for place, token in enumerate(drawn, len(prompt) - 1):
        assert token.score is not None and token.score.id == token.id
        assert token.score.logprob == pytest.approx(float(logprobs[place, token.id]), abs=2e-4)
        best = logprobs[place].topk(5)
        assert [one.logprob for one in token.top] == pytest.approx(best.values.tolist(), abs=2e-4)
        assert token.top[0].id == best.indices[0]


def test_logprobs_are_the_models_own_in_transformers_whatever_the_sampling(shared_data: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = shared_data / "models" / "stories260K"
    prompt = [1, 403, 407]
    settings = {"temperature": 0.3, "top_k": 2, "repetition_penalty": 1.5, "logprobs": 3}
    drawn = _run(Engine(load_model(folder)), prompt, max_tokens=20, **settings)
    theirs = AutoModelForCausalLM.from_pretrained(folder)
    with torch.inference_mode():
        logits = theirs(torch.tensor([[*prompt, *_ids(drawn)]])).logits[0]
    for place, token in enumerate(drawn, len(prompt) - 1):
        expected = logits[place].log_softmax(0)
        for one in (token.score, *token.top):
            assert one is not None and one.logprob == pytest.approx(float(expected[one.id]), abs=2e-4)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_a_prompt_read_in_parts_is_read_as_a_whole(size: int, stories: Transformer) -> None:
    prompt = torch.randint(3, 512, (150,), generator=torch.Generator().manual_seed(0)).tolist()
    with torch.inference_mode():
        expected = stories(torch.tensor([prompt]))[0, -1].log_softmax(0)
    engine = Engine(stories, EngineConfig(pass_tokens=size, max_texts=1))
    (token,) = _run(engine, prompt, max_tokens=1, logprobs=512)
    found = torch.tensor([one.logprob for one in sorted(token.top, key=lambda one: one.id)])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert engine.counts.passes == -(-150 // size)


def test_a_text_does_not_depend_on_what_the_engine_wrote_before(stories: Transformer) -> None:
    requests = [([1, 403], 30), ([1, 403, 407], 10), ([1], 50), ([1, 403, 407], 12), ([1, 403, 407], 10)]

    def write(engine: Engine, number: int) -> list[int]:
        prompt, length = requests[number]
        return _ids(_run(engine, prompt, max_tokens=length, seed=number, temperature=1.0))

    alone = [write(Engine(stories), number) for number in range(5)]
    engine = Engine(stories)
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 2, 0, 0, 3]):
        assert [write(engine, number) for number in order] == [alone[number] for number in order]


def test_a_prompt_that_comes_again_is_read_from_its_last_whole_block_on(
    stories: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    hidden = stories.hidden
    monkeypatch.setattr(
        stories, "hidden", lambda ids, **rest: reads.append(ids.shape[1]) or hidden(ids, **rest)
    )
    engine = Engine(stories, EngineConfig(max_texts=1))
    prompt = list(range(3, 40))
    for seed in range(3):
        _run(engine, prompt, max_tokens=1, seed=seed)
    assert reads == [37, 5, 5]
    assert engine.counts.cached_tokens == 64


def test_a_chat_that_goes_on_reads_only_what_is_new(stories: Transformer) -> None:
    engine = Engine(stories, EngineConfig(max_texts=1))
    first = [1, 403, 407, 261, 378]
    text = _ids(_run(engine, first, max_tokens=60, **GREEDY))
    second = [*first, *text, 300, 301]
    before = engine.counts.computed_tokens
    _run(engine, second, max_tokens=1)
    assert engine.counts.computed_tokens - before == 67 - 64 // 16 * 16
    assert _ids(_run(engine, second, max_tokens=9, **GREEDY)) == _ids(
        _run(Engine(stories), second, max_tokens=9, **GREEDY)
    )


def test_a_text_left_half_way_does_not_harm_the_next(stories: Transformer) -> None:
    engine = Engine(stories)
    begun = engine.run(Request((1, 403, 407), SamplingConfig(max_tokens=20, seed=1)))
    next(begun), next(begun)
    expected = _ids(_run(Engine(stories), [1, 403, 407], max_tokens=20, seed=2))
    assert _ids(_run(engine, [1, 403, 407], max_tokens=20, seed=2)) == expected


def test_a_text_ends_with_its_context_and_the_last_place_is_used(make_model: Make) -> None:
    model = make_model(max_position_embeddings=12)
    drawn = _run(Engine(model), [1, 2, 3], max_tokens=100, **GREEDY)
    assert len(drawn) == 9
    assert [token.finish for token in drawn] == [None] * 8 + ["length"]


def test_a_text_ends_with_every_id_that_ends_texts_unless_told_to_go_on(make_model: Make) -> None:
    free = _ids(_run(Engine(make_model()), [1, 2], max_tokens=8, **GREEDY))
    by_config = Engine(make_model(eos_token_id=free[1]))
    assert _ids(_run(by_config, [1, 2], max_tokens=8, temperature=0.0)) == free[: free.index(free[1]) + 1]
    by_engine = Engine(make_model(), stop_ids=[free[0]])
    (only,) = _run(by_engine, [1, 2], max_tokens=8, temperature=0.0)
    assert only.finish == "stop" and not only.is_text
    request = Request((1, 2), SamplingConfig(max_tokens=8, temperature=0.0), frozenset([free[0]]))
    assert _ids(list(Engine(make_model()).run(request))) == free[:1]
    assert _ids(_run(by_config, [1, 2], max_tokens=8, **GREEDY)) == free
    asked = _run(by_config, [1, 2], max_tokens=8, stop_ids=(free[1],), **GREEDY)
    assert _ids(asked) == free[: free.index(free[1]) + 1] and asked[-1].finish == "stop"


def test_scores_of_single_tokens_are_those_of_one_full_pass_and_their_prompt_may_fill_the_context(
    make_model: Make,
) -> None:
    model = make_model(max_position_embeddings=12)
    for length in (5, 12):
        prompt = tuple(range(length))
        (drawn,) = Engine(model).run(Request(prompt, SamplingConfig(max_tokens=1), logits_of=(3, 1)))
        with torch.no_grad():
            scores = model(torch.tensor([prompt]))[0, -1]
        assert drawn.logits == pytest.approx(scores[[3, 1]].tolist(), abs=1e-5)
    with pytest.raises(UsageError, match="leaves no room"):
        list(Engine(model).run(Request(tuple(range(12)), SamplingConfig(max_tokens=1))))


def test_what_the_model_cannot_do_is_refused_when_the_text_begins(make_model: Make) -> None:
    engine = Engine(make_model(max_position_embeddings=8))
    with pytest.raises(UsageError, match="context of 8"):
        _run(engine, list(range(8)))
    with pytest.raises(DataError, match="token id 40"):
        _run(engine, [40])


def test_training_goes_on_after_a_text_was_written(make_model: Make) -> None:
    model = make_model()  # its table of rotations is made by the engine first
    _run(Engine(model), [1, 2, 3], max_tokens=5)
    loss = model.train()(torch.tensor([[1, 2, 3, 4]])).logsumexp(-1).sum()
    loss.backward()
    assert math.isfinite(float(model.model.embed_tokens.weight.grad.sum()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_cache_takes_the_bytes_of_its_positions_in_whole_blocks(
    dtype: torch.dtype, make_model: Make
) -> None:
    from llmkit.estimate.architecture_of import architecture_of
    from llmkit.estimate.cache import contiguous_cache_bytes

    model = make_model(num_key_value_heads=2).to(dtype)
    engine = Engine(model, EngineConfig(positions=22, block_tokens=8))
    name = str(dtype).removeprefix("torch.")
    assert engine.store.nbytes == contiguous_cache_bytes(architecture_of(model.config), name, context=24)
    assert len(_run(engine, [1, 2, 3], max_tokens=20, **GREEDY)) == 20  # in each dtype


def test_memory_that_is_exactly_enough_is_enough(make_model: Make) -> None:
    engine = Engine(make_model(), EngineConfig(positions=16, block_tokens=4))
    assert len(_run(engine, [1, 2, 3], max_tokens=14, **GREEDY)) == 14  # the last is drawn and not read
    with pytest.raises(ResourceError, match="17 positions, and the cache has 16"):
        _run(engine, [1, 2, 3], max_tokens=15)
    assert engine.is_idle


def _busy(model: Transformer, requests: list[Request], **settings: Any) -> tuple[list[list[int]], Engine]:
    proposer = settings.pop("proposer", None)
    engine = Engine(model, EngineConfig(**settings), proposer=proposer)
    for request in requests:
        engine.submit(request)
    return _texts(_drain(engine)), engine


def test_a_seed_gives_the_same_text_alone_and_in_a_busy_batch_with_guesses_and_without(
    make_model: Make,
) -> None:
    model = make_model()
    requests = [
        _request(
            [seed % 5, 1, 2, 1, 2][: 1 + seed % 5], max_tokens=20, seed=seed, temperature=0.7, ignore_eos=True
        )
        for seed in range(24)
    ]
    alone = [_ids(list(Engine(model).run(request))) for request in requests]
    assert len({tuple(text) for text in alone}) == 24
    for settings in (
        {"positions": 2000},
        {"positions": 2000, "pass_tokens": 1, "max_texts": 5, "reuse": False},
        {"positions": 60, "block_tokens": 4},
        {"positions": 2000, "proposer": PromptLookup(shortest=1)},
        {"positions": 60, "block_tokens": 4, "proposer": PromptLookup(shortest=1)},
    ):
        texts, engine = _busy(model, requests, **settings)
        assert texts == alone
        assert (engine.counts.restarts > 0) == (settings["positions"] == 60)
        assert ("proposer" in settings) == (engine.counts.accepted_drafts > 0)


@pytest.mark.parametrize("share", [0.0, 0.7, 1.0])
def test_right_guesses_save_passes_and_wrong_ones_leave_no_trace(make_model: Make, share: float) -> None:
    model = make_model()
    prompts = [[1, 2, 3], [4], list(range(20))]
    requests = [_request(prompt, max_tokens=25, logprobs=2, **GREEDY) for prompt in prompts]
    plain = [list(Engine(model).run(request)) for request in requests]
    oracle = Oracle({tuple(prompt): _ids(text) for prompt, text in zip(prompts, plain, strict=True)}, share)
    engine = Engine(model, EngineConfig(positions=500), proposer=oracle)
    for request in requests:
        engine.submit(request)
    events = _drain(engine)
    for number, text in enumerate(plain):
        for event, token in zip(events[number], text, strict=True):
            assert event.drawn is not None and event.drawn.score is not None and token.score is not None
            assert (event.drawn.id, event.drawn.finish) == (token.id, token.finish)
            assert event.drawn.score.logprob == pytest.approx(token.score.logprob, abs=1e-4)
            assert [one.id for one in event.drawn.top] == [one.id for one in token.top]
    counts = engine.counts
    assert counts.drawn_tokens == 75
    if share == 1.0:  # five guesses and one more in each pass after the first, and never one too many
        assert counts.passes == 1 + 4 and counts.accepted_drafts == counts.proposed_drafts == 3 * (5 * 4)
    if share == 0.0:
        assert counts.passes == 25 and counts.accepted_drafts == 0 < counts.proposed_drafts


def test_a_text_that_ends_among_right_guesses_ends_there(make_model: Make) -> None:
    model = make_model()
    free = _ids(_run(Engine(model), [1, 2], max_tokens=20, **GREEDY))
    end = next(one for place, one in enumerate(free) if place > 2 and one not in free[:place])
    length = free.index(end) + 1
    engine = Engine(model, stop_ids=[end], proposer=Oracle({(1, 2): free}, count=19))
    drawn = _run(engine, [1, 2], max_tokens=20, temperature=0.0)
    assert _ids(drawn) == free[:length] and drawn[-1].finish == "stop"
    assert engine.is_idle and engine.pool.num_free == engine.pool.num_blocks
    assert _ids(_run(engine, [1, 2], max_tokens=20, **GREEDY)) == free
    assert _run(engine, [1, 2], max_tokens=7, **GREEDY)[-1].finish == "length"


@pytest.mark.parametrize("scaling", [LONGROPE, DYNAMIC], ids=["longrope", "dynamic"])
@pytest.mark.parametrize("length", [1, 15, 16, 17])
def test_where_rotations_depend_on_length_guesses_and_company_change_nothing(
    make_model: Make, scaling: dict[str, Any], length: int
) -> None:
    model = make_model(rope_scaling=scaling)
    prompts = [list(range(length)), [9, 9], list(range(25, 39))]
    requests = [_request(prompt, max_tokens=18, **GREEDY) for prompt in prompts]
    alone = [_ids(list(Engine(model).run(request))) for request in requests]
    oracle = Oracle({tuple(prompt): text for prompt, text in zip(prompts, alone, strict=True)})
    for settings in ({"pass_tokens": 3, "max_texts": 3}, {"positions": 48, "block_tokens": 4}):
        for proposer in (None, oracle):
            texts, engine = _busy(model, requests, proposer=proposer, **({"positions": 500} | settings))
            assert texts == alone
    assert engine.counts.accepted_drafts > 0  # within the original context


def test_many_draws_from_one_place_have_the_distribution_of_its_scores(make_model: Make) -> None:
    model = make_model(vocab_size=12)
    draws = 20_000
    with torch.inference_mode():
        expected = model(torch.tensor([[3, 1, 4]]))[0, -1].double().softmax(0)
    engine, counts = Engine(model), torch.zeros(12, dtype=torch.float64)
    sampling = SamplingConfig(max_tokens=1, temperature=1.0, seed=3, logprobs=12)
    (token,) = engine.run(Request((3, 1, 4), sampling))
    scores = torch.tensor([one.logprob for one in sorted(token.top, key=lambda one: one.id)]).numpy()
    sampler = Sampler(sampling, (3, 1, 4), 12)
    for _ in range(draws):
        counts[sampler.draw(scores)] += 1
    assert float(counts.sum()) == draws
    chi_square = float(((counts - draws * expected) ** 2 / (draws * expected)).sum())
    assert chi_square < 31.26  # 11 degrees of freedom: one run in a thousand is above, of other seeds


def test_draws_behind_guesses_have_the_distribution_of_the_scores_too(make_model: Make) -> None:
    model = make_model(vocab_size=12)
    with torch.inference_mode():
        first = model(torch.tensor([[3, 1, 4]]))[0, -1].double().softmax(0)
        after = torch.stack([model(torch.tensor([[3, 1, 4, one]]))[0, -1] for one in range(12)])
    second = after.double().softmax(1)
    draws = 2000
    guess = int(first.argmax())

    class Always(Oracle):
        def guess(self, text: Text, most: int) -> list[int]:
            return [guess][:most]

    engine = Engine(model, EngineConfig(positions=8192, max_texts=512), proposer=Always({}))
    pairs = torch.zeros(12, dtype=torch.float64)
    for begin in range(0, draws, 500):
        for seed in range(begin, begin + 500):
            engine.submit(_request([3, 1, 4], max_tokens=3, seed=seed, temperature=1.0, ignore_eos=True))
        for text in _texts(_drain(engine)):
            pairs[text[1]] += 1
    expected = draws * (first @ second)
    assert 0 < engine.counts.accepted_drafts < engine.counts.proposed_drafts
    assert float(((pairs - expected) ** 2 / expected).sum()) < 31.26


def test_giving_up_a_text_frees_its_memory_before_the_next_pass(make_model: Make) -> None:
    engine = Engine(make_model(), EngineConfig(positions=96, block_tokens=4, max_texts=2))
    numbers = [engine.submit(_request(list(range(9)), max_tokens=30)) for _ in range(4)]
    engine.step()
    held = engine.pool.num_free
    engine.abort(numbers[0])
    engine.abort(numbers[0])
    assert held < engine.pool.num_free
    for number in numbers:
        engine.abort(number)
    assert engine.is_idle and engine.pool.num_free == engine.pool.num_blocks
    assert engine.step() == []


def test_two_thousand_texts_begun_and_given_up_leave_nothing_behind(make_model: Make) -> None:
    lookup = PromptLookup(shortest=1)
    engine = Engine(make_model(), EngineConfig(positions=120, block_tokens=4, max_texts=6), proposer=lookup)
    chance = random.Random(1)
    open_: list[int] = []
    for _ in range(2000):
        prompt = [chance.randrange(3) for _ in range(chance.randint(1, 12))]
        open_.append(
            engine.submit(_request(prompt, max_tokens=chance.randint(1, 20), seed=chance.randrange(99)))
        )
        if chance.random() < 0.4:
            engine.step()
        while len(open_) > 8 or (open_ and chance.random() < 0.4):
            engine.abort(open_.pop(chance.randrange(len(open_))))
    engine.pool.check()
    for number in open_:
        engine.abort(number)
    assert engine.is_idle and engine.pool.num_free == engine.pool.num_blocks
    engine.pool.check()
    assert lookup._places == {}


@pytest.mark.parametrize("error", [RuntimeError("no memory for this pass"), DataError("bad", hint="mend it")])
def test_an_error_in_the_models_pass_ends_its_texts_and_no_other(
    make_model: Make, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    model = make_model()
    prompts = [[1, 2, 3], [4, 5], [6, 7], [1, 2, 3]]
    expected = [_ids(_run(Engine(model), prompt, max_tokens=8, **GREEDY)) for prompt in prompts]
    engine = Engine(model, EngineConfig(positions=200, max_texts=2))
    for prompt in prompts:
        engine.submit(_request(prompt, max_tokens=8, **GREEDY))
    engine.step(), engine.step()

    def fail(*args: object, **rest: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(model, "hidden", fail)
        events = engine.step()
    assert [(one.number, one.drawn, one.error) for one in events] == [(0, None, error), (1, None, error)]
    assert engine.pool.num_free == engine.pool.num_blocks
    assert _texts(_drain(engine)) == expected[2:]
    assert _ids(_run(engine, prompts[0], max_tokens=8, **GREEDY)) == expected[0]
    with monkeypatch.context() as broken:
        broken.setattr(model, "hidden", fail)
        with pytest.raises(type(error), match=str(error)):
            _run(engine, prompts[0])
    assert engine.is_idle


def test_scores_that_are_no_numbers_end_their_text_alone(make_model: Make) -> None:
    model = make_model(tie_word_embeddings=False)
    prompts = [[1, 2, 3], [4, 5, 39], [6, 7]]
    expected = [_ids(_run(Engine(model), prompt, max_tokens=8, **GREEDY)) for prompt in prompts]
    assert all(39 not in text for text in (expected[0], expected[2]))
    with torch.no_grad():
        model.model.embed_tokens.weight[39] = math.nan
    engine = Engine(model, EngineConfig(positions=200))
    for prompt in prompts:
        engine.submit(_request(prompt, max_tokens=8, **GREEDY))
    events = _drain(engine)
    (failed,) = events.pop(1)
    assert failed.drawn is None and isinstance(failed.error, DataError) and "not finite" in str(failed.error)
    assert _texts(events) == [expected[0], expected[2]]
    with pytest.raises(DataError, match="not finite"):
        _run(engine, [39], temperature=1.0, top_k=3, top_p=0.5)
    assert engine.is_idle and engine.pool.num_free == engine.pool.num_blocks


def test_what_was_drawn_before_scores_failed_behind_a_guess_is_not_lost(
    make_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(tie_word_embeddings=False)
    free = _ids(_run(Engine(model), [1, 2], max_tokens=12, **GREEDY))
    logits = model.logits

    def spoilt(hidden: torch.Tensor) -> torch.Tensor:
        scores = logits(hidden).clone()
        scores[5:] = math.nan
        return scores

    monkeypatch.setattr(model, "logits", spoilt)
    engine = Engine(model, EngineConfig(positions=48), proposer=Oracle({(1, 2): free}, count=9))
    engine.submit(_request([1, 2], max_tokens=12, **GREEDY))
    (events,) = _drain(engine).values()
    assert [one.drawn.id for one in events if one.drawn is not None] == free[:6]  # one, then five of ten
    assert isinstance(events[-1].error, DataError)


def test_a_tenant_finds_its_own_prompts_and_no_others(make_model: Make) -> None:
    engine = Engine(make_model(), EngineConfig(positions=400, block_tokens=4, max_texts=1))
    sampling = SamplingConfig(max_tokens=2, **GREEDY)
    found = []
    for owner in ("a", "a", "b", "b", ""):
        before = engine.counts.cached_tokens
        list(engine.run(Request(tuple(range(18)), sampling, key=owner)))
        found.append(engine.counts.cached_tokens - before)
    assert found == [0, 16, 0, 16, 0]


def test_with_a_salt_an_owner_finds_only_what_has_the_same(make_model: Make) -> None:
    engine = Engine(make_model(), EngineConfig(positions=400, block_tokens=4, max_texts=1))
    sampling = SamplingConfig(max_tokens=2, **GREEDY)
    found = []
    for owner, salt in (("a", ""), ("a", "s"), ("a", "s"), ("a", ""), ("b", "s"), ("as", "")):
        before = engine.counts.cached_tokens
        list(engine.run(Request(tuple(range(18)), sampling, key=owner, salt=salt)))
        found.append(engine.counts.cached_tokens - before)
    assert found == [0, 0, 16, 16, 0, 0]


@pytest.mark.parametrize("length", range(1, 14))
def test_texts_that_end_at_and_around_the_borders_of_blocks_are_whole(make_model: Make, length: int) -> None:
    model = make_model()
    prompt = [n % 7 for n in range(length)]
    expected = _ids(_run(Engine(model, EngineConfig(block_tokens=48)), prompt, max_tokens=9, **GREEDY))
    engine = Engine(model, EngineConfig(block_tokens=4), proposer=PromptLookup(shortest=1))
    for again in (prompt, prompt, [*prompt, *expected[:3]], [*prompt, *expected[:5]], prompt):
        skipped = len(again) - length
        assert _ids(_run(engine, again, max_tokens=9 - skipped, **GREEDY)) == expected[skipped:]


def test_samples_of_one_prompt_read_it_once(make_model: Make) -> None:
    model = make_model()
    prompt = list(range(37))
    requests = [_request(prompt, max_tokens=3, seed=seed, ignore_eos=True) for seed in range(8)]
    texts, engine = _busy(model, requests, positions=500, block_tokens=4)
    assert texts == [_ids(list(Engine(model).run(request))) for request in requests]
    assert engine.counts.computed_tokens == 37 + 7 * 1 + 8 * 2
