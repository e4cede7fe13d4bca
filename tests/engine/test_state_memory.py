"""Texts of models with layers of state: each writes what it writes alone, and goes on from what was kept."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from llmkit.engine.config import SamplingConfig
from llmkit.engine.draft_model import DraftModel
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.module_weights import pack_model
from llmkit.engine.native.states import NativeStates
from llmkit.engine.native.weights import PackedModel
from llmkit.engine.request import Request
from llmkit.engine.sampling import sampler_of
from llmkit.engine.saved_states import StateKind
from llmkit.engine.state_memory import (
    StateMemory,
    check_offload,
    guessing_states,
    num_slots,
    verified_states,
)
from llmkit.engine.state_store import StateStore
from llmkit.engine.text import Text
from llmkit.errors import UsageError
from llmkit.kernels.library import available
from llmkit.model.adapters.weights import AdapterWeights, LowRank
from llmkit.model.transformer import Transformer
from tests.model.kv_cache import KVCache
from tests.model.recurrent.conftest import FIELDS, MAMBA, hybrid

BLOCK = EngineConfig.block_tokens
NEW = 40
needs_kernels = pytest.mark.skipif(not available(), reason="no native library")


@pytest.fixture(params=FIELDS, scope="module")
def model(request: pytest.FixtureRequest) -> Transformer:
    """One of each kind of layer."""
    return hybrid(request.param)


@pytest.fixture(params=["torch", pytest.param("native", marks=needs_kernels)])
def computes(request: pytest.FixtureRequest, model: Transformer) -> Transformer | PackedModel:
    """What runs it."""
    return pack_model(model) if request.param == "native" else model


def prompt(length: int, seed: int = 0) -> list[int]:
    return random.Random(seed).choices(range(40), k=length)


def changes_of_state_layers(model: Transformer, seed: int) -> dict[str, LowRank]:
    """An adapter of every matrix in layers of state."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: LowRank(
            torch.randn(2, part.in_features, generator=generator),
            torch.randn(part.out_features, 2, generator=generator),
            0.2,
        )
        for layer in model.config.state_layers
        for name, part in model.named_modules()
        if name.startswith(f"model.layers.{layer}.") and isinstance(part, torch.nn.Linear)
    }


def asked(ids: Sequence[int], count: int = NEW) -> Request:
    return Request(tuple(ids), SamplingConfig(max_tokens=count, temperature=0.0, ignore_eos=True))


@torch.no_grad()
def by_hand(model: Transformer, ids: Sequence[int], count: int = NEW) -> list[int]:
    """The prompt in one pass, then token by token, through a cache of its own."""
    cache = KVCache(model.config, 1, len(ids) + count)
    part, written = torch.tensor([ids]), []
    for _ in range(count):
        written.append(int(model(part, cache=cache)[0, -1].argmax()))
        part = torch.tensor([written[-1:]])
    return written


def write(
    engine: Engine, prompts: Sequence[Sequence[int]], count: int = NEW
) -> tuple[list[list[int]], list[int]]:
    """What each text becomes, all submitted at once; and how much of each was found."""
    return run(engine, [asked(ids, count) for ids in prompts])


def run(engine: Engine, requests: Sequence[Request]) -> tuple[list[list[int]], list[int]]:
    """The same of requests."""
    numbers = {engine.submit(request): place for place, request in enumerate(requests)}
    texts: list[list[int]] = [[] for _ in requests]
    found = [0] * len(requests)
    while not engine.is_idle:
        for event in engine.step():
            assert event.error is None and event.drawn is not None
            texts[numbers[event.number]].append(event.drawn.id)
            found[numbers[event.number]] = event.from_cache
        check_slots(engine)
    return texts, found


def check_slots(engine: Engine | DraftModel) -> None:
    """Every state is a text's, or kept, or to go back to, or free; and none is two of these."""
    if isinstance(engine, DraftModel):
        memory, texts = engine._memory, [*engine._readings.values()]
    else:
        memory, texts = engine._scheduler.memory, [*engine._texts.values()]
    states, store = memory._states, engine._store if isinstance(engine, DraftModel) else engine.store
    assert states is not None
    slots = store.states
    assert isinstance(slots, StateStore | NativeStates)
    made = len(slots.array) if isinstance(slots, NativeStates) else len(next(iter(slots.layers.values()))[0])
    held = [text.state for text in texts if text.state is not None]
    held += [slot for text in texts for slot in text.earlier.values()]
    assert len({*held}) == len(held)
    free = [*states._free, *states._spare, *states._earlier, *states._kept.values()]
    assert sorted([*held, *free]) == [*range(made)]


def test_texts_at_once_write_what_each_writes_alone(
    model: Transformer, computes: Transformer | PackedModel
) -> None:
    prompts = [prompt(length, length) for length in (1, 15, 16, 17, 70, 33)]
    texts, found = write(Engine(computes, EngineConfig(positions=1024, pass_tokens=40, max_texts=4)), prompts)
    assert texts == [by_hand(model, ids) for ids in prompts]
    assert found == [0] * len(prompts)


@pytest.mark.parametrize("kernels", ["torch", pytest.param("native", marks=needs_kernels)])
def test_a_model_without_attention_writes_and_goes_on_too(kernels: str) -> None:
    alone = hybrid("granitemoehybrid", mamba=replace(MAMBA, layers=(0, 1, 2)))
    computes = pack_model(alone) if kernels == "native" else alone
    engine = Engine(computes, EngineConfig(positions=512, max_texts=2))
    prompts = [prompt(20, 1), prompt(33, 2)]
    texts, _ = write(engine, prompts)
    assert texts == [by_hand(alone, ids) for ids in prompts]
    second = [*prompts[1], *texts[1], 3]
    again, (found,) = write(engine, [second])
    assert again == [by_hand(alone, second)] and found == (33 + NEW - 1) // BLOCK * BLOCK


def test_a_conversation_goes_on_from_where_its_answer_ended(
    model: Transformer, computes: Transformer | PackedModel
) -> None:
    engine = Engine(computes, EngineConfig(positions=1024, max_texts=2))
    first = prompt(50)
    ((answer,), _) = write(engine, [first])
    second = [*first, *answer, *prompt(9, 1)]
    texts, found = write(engine, [second])
    assert texts == [by_hand(model, second)]
    assert found == [(50 + NEW - 1) // BLOCK * BLOCK]  # the last token drawn was not read
    texts, found = write(engine, [[*first, 3, *prompt(20, 2)]])  # and so does another answer to the prompt
    assert texts == [by_hand(model, [*first, 3, *prompt(20, 2)])]
    assert found == [48]


def test_where_two_prompts_part_the_third_goes_on(
    model: Transformer, computes: Transformer | PackedModel
) -> None:
    engine = Engine(computes, EngineConfig(positions=2048, max_texts=3))
    prompts = [[*prompt(100), *prompt(30, seed)] for seed in (1, 2, 3)]
    found = []
    for ids in prompts:
        texts, reused = write(engine, [ids], 5)
        assert texts == [by_hand(model, ids, 5)]
        found += reused
    assert found == [0, 0, 96]


def test_equal_prompts_at_once_are_read_once(model: Transformer, computes: Transformer | PackedModel) -> None:
    engine, ids = Engine(computes, EngineConfig(positions=1024, max_texts=4)), prompt(70)
    texts, found = write(engine, [ids] * 3)
    assert texts == [by_hand(model, ids)] * 3
    assert found == [0, 64, 64]


def test_a_text_that_loses_its_memory_is_the_same_text(
    model: Transformer, computes: Transformer | PackedModel
) -> None:
    prompts = [prompt(60, seed) for seed in range(3)]
    engine = Engine(computes, EngineConfig(positions=16 * BLOCK, max_texts=3, pass_tokens=32))
    texts, _ = write(engine, prompts)
    assert texts == [by_hand(model, ids) for ids in prompts]
    assert engine.counts.restarts > 0


def test_a_text_that_begins_again_while_it_is_at_work_is_the_same_text(
    model: Transformer, computes: Transformer | PackedModel
) -> None:
    engine, ids = Engine(computes, EngineConfig(positions=1024, reuse=False, max_texts=2)), prompt(40)
    numbers = [engine.submit(asked(ids)), engine.submit(asked(prompt(9, 1)))]
    written: dict[int, list[int]] = {number: [] for number in numbers}
    for step in range(100):
        for event in engine.step():
            assert event.drawn is not None
            written[event.number].append(event.drawn.id)
        if step == 7:
            engine._scheduler.restart(engine._texts[numbers[0]])
    assert written == {numbers[0]: by_hand(model, ids), numbers[1]: by_hand(model, prompt(9, 1))}


@pytest.mark.parametrize("kernels", ["torch", pytest.param("native", marks=needs_kernels)])
def test_each_text_of_a_pass_has_the_change_of_its_own_adapter(model: Transformer, kernels: str) -> None:
    fresh = hybrid(model.config.model_type)
    engine = Engine(
        pack_model(fresh) if kernels == "native" else fresh,
        EngineConfig(positions=1024, pass_tokens=40, max_texts=4),
    )
    alone: dict[str | None, Transformer] = {None: model}
    for seed, name in enumerate(("one", "two"), 1):
        changes = changes_of_state_layers(model, seed)
        engine.adapters.load(name, AdapterWeights(changes))
        alone[name] = hybrid(model.config.model_type)
        for place, change in changes.items():
            weight = alone[name].get_parameter(f"{place}.weight")
            weight.data = change.merged(weight.data)
    chosen = (None, "one", "two", "one", None, "two")
    prompts = [prompt(length, length) for length in (17, 70, 33, 1, 16, 15)]
    requests = [replace(asked(ids), adapter=name) for ids, name in zip(prompts, chosen, strict=True)]
    assert run(engine, requests)[0] == [
        by_hand(alone[name], ids) for ids, name in zip(prompts, chosen, strict=True)
    ]


def test_what_is_kept_is_bounded_and_the_oldest_goes_first(computes: Transformer | PackedModel) -> None:
    engine = Engine(computes, EngineConfig(positions=2048, max_texts=1))
    prompts = [prompt(40, seed) for seed in range(4)]
    for ids in prompts:
        write(engine, [ids], 2)
    found = [write(engine, [[*ids, 1]], 2)[1][0] for ids in reversed(prompts)]
    assert found == [32, 32, 0, 0]


def test_a_prompt_that_is_scored_has_the_scores_of_one_pass(
    model: Transformer, computes: Transformer | PackedModel
) -> None:
    ids = prompt(300)
    request = Request(tuple(ids), SamplingConfig(max_tokens=1, temperature=0.0), scores_prompt="only")
    scores = [one.score.logprob for one in Engine(computes).run(request) if one.score is not None]
    with torch.no_grad():
        expected = model(torch.tensor([ids]))[0, :-1].log_softmax(-1)
    chosen = expected.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(scores[-299:]), chosen, rtol=1e-3, atol=1e-3)


class Oracle:
    """Has read the texts before; so many of its guesses are right, and the next one is not."""

    def __init__(self, texts: dict[tuple[int, ...], list[int]], count: int = 5) -> None:
        self.texts, self.count = texts, count
        self.random = random.Random(0)
        self.right: list[tuple[int, int]] = []

    def propose(self, texts: Sequence[Text], most: Sequence[int]) -> list[list[int]]:
        return [self.guess(text)[:room] for text, room in zip(texts, most, strict=True)]

    def guess(self, text: Text) -> list[int]:
        known = self.texts[text.request.prompt][text.drawn :][: self.random.randint(0, self.count)]
        wrong = self.random.randint(0, len(known))
        return [(one + (place == wrong)) % 40 for place, one in enumerate(known)]

    def learn(self, text: Text, proposed: int, right: int) -> None:
        self.right.append((proposed, right))

    def forget(self, text: Text) -> None:
        """Nothing is held."""


def test_texts_go_on_from_their_last_right_guess_and_are_the_same(
    model: Transformer, computes: Transformer | PackedModel
) -> None:
    prompts = [prompt(length, length) for length in (1, 15, 33, 70)]
    expected = [by_hand(model, ids) for ids in prompts]
    oracle = Oracle(dict(zip(map(tuple, prompts), expected, strict=True)))
    engine = Engine(computes, EngineConfig(positions=1024, pass_tokens=40, max_texts=3), proposer=oracle)
    assert write(engine, prompts)[0] == expected
    assert {(4, 0), (4, 2), (4, 4), (2, 1)} <= {*oracle.right}
    assert engine.counts.passes < sum(map(len, expected))


def test_texts_drawn_by_chance_are_the_same_with_guesses(computes: Transformer | PackedModel) -> None:
    requests = [
        Request((1, 2, 3 + seed), SamplingConfig(max_tokens=30, temperature=1.0, seed=seed, ignore_eos=True))
        for seed in range(3)
    ]
    config = EngineConfig(positions=512, max_texts=2)
    plain, _ = run(Engine(computes, config), requests)
    oracle = Oracle({request.prompt: text for request, text in zip(requests, plain, strict=True)})
    assert run(Engine(computes, config, proposer=oracle), requests)[0] == plain
    assert {0, 1, 2, 3} <= {right for _, right in oracle.right}


def test_a_conversation_goes_on_from_within_a_pass_of_guesses(
    model: Transformer, computes: Transformer | PackedModel
) -> None:
    ids = prompt(50)
    oracle = Oracle({tuple(ids): by_hand(model, ids)}, count=9)
    engine = Engine(computes, EngineConfig(positions=1024, max_texts=2), proposer=oracle)
    ((answer,), _) = write(engine, [ids])
    second = [*ids, *answer, *prompt(9, 1)]
    oracle.texts[tuple(second)] = by_hand(model, second)
    texts, found = write(engine, [second])
    assert texts == [by_hand(model, second)]
    assert found == [(50 + NEW - 1) // BLOCK * BLOCK]


def test_texts_that_lose_their_memory_between_guesses_are_the_same(
    model: Transformer, computes: Transformer | PackedModel
) -> None:
    prompts = [prompt(60, seed) for seed in range(3)]
    expected = [by_hand(model, ids) for ids in prompts]
    oracle = Oracle(dict(zip(map(tuple, prompts), expected, strict=True)))
    config = EngineConfig(positions=16 * BLOCK, max_texts=3, pass_tokens=32)
    engine = Engine(computes, config, proposer=oracle)
    assert write(engine, prompts)[0] == expected
    assert engine.counts.restarts > 0 and engine.counts.accepted_drafts > 0


def test_texts_given_up_between_guesses_give_back_every_state(computes: Transformer | PackedModel) -> None:
    ids = prompt(20)
    oracle = Oracle({tuple(ids): prompt(NEW, 1)})
    engine = Engine(computes, EngineConfig(positions=512, max_texts=2), proposer=oracle)
    for steps in range(1, 6):
        number = engine.submit(asked(ids))
        for _ in range(steps):
            engine.step()
        engine.abort(number)
        check_slots(engine)


def test_guesses_are_verified_as_far_as_there_are_states_to_go_back_to(model: Transformer) -> None:
    assert [verified_states(texts, 8) for texts in (1, 4, 32)] == [8, 8, 64]
    assert (verified_states(32, 1), verified_states(3, 0)) == (32, 0)
    prompts = [prompt(5, seed) for seed in range(4)]
    expected = [by_hand(model, ids) for ids in prompts]

    class All(Oracle):
        def guess(self, text: Text) -> list[int]:
            return self.texts[text.request.prompt][text.drawn :][: self.count]

    oracle = All(dict(zip(map(tuple, prompts), expected, strict=True)), count=3)
    engine = Engine(model, EngineConfig(positions=512, max_texts=2), proposer=oracle)
    assert write(engine, prompts)[0] == expected
    assert {proposed for proposed, _ in oracle.right} == {1, 2, 3}  # of two texts four states


@pytest.mark.parametrize("kernels", ["torch", pytest.param("native", marks=needs_kernels)])
@pytest.mark.parametrize(
    ("target", "draft"),
    [("llama", "qwen3_5_text"), ("llama", "lfm2"), ("granitemoehybrid", "llama"), ("lfm2", "lfm2")],
)
def test_models_with_states_and_without_guess_for_each_other(
    target: str, draft: str, kernels: str, make_model: Callable[..., Transformer]
) -> None:
    big, small = (
        make_model(max_position_embeddings=512) if name == "llama" else hybrid(name)
        for name in (target, draft)
    )
    computes, guesses = (pack_model(one) if kernels == "native" else one for one in (big, small))
    proposer = DraftModel(guesses, count=4, positions=512, max_texts=2, pass_tokens=40)
    engine = Engine(computes, EngineConfig(positions=512, max_texts=2), proposer=proposer)
    prompts = [prompt(length, length) for length in (3, 33, 60)]
    numbers = [engine.submit(asked(ids, 21)) for ids in prompts]
    written: dict[int, list[int]] = {number: [] for number in numbers}
    while not engine.is_idle:
        for event in engine.step():
            assert event.drawn is not None
            written[event.number].append(event.drawn.id)
    assert [*written.values()] == [by_hand(big, ids, 21) for ids in prompts]
    counts = engine.counts
    assert counts.proposed_drafts > 0
    assert (counts.accepted_drafts == counts.proposed_drafts) == (target == draft)


def test_guesses_are_the_smaller_models_own_text_whatever_became_of_the_last(
    model: Transformer, computes: Transformer | PackedModel
) -> None:
    chance = random.Random(0)
    draft = DraftModel(computes, count=4, positions=512, max_texts=3)
    requests = [asked(prompt(chance.randint(1, 40), seed)) for seed in range(3)]
    texts = [
        Text(number, request, sampler_of(request, 40, frozenset()), 99, [*request.prompt])
        for number, request in enumerate(requests)
    ]
    made = 0
    for _ in range(12):
        for text, guess in zip(texts, draft.propose(texts, [4, 3, 1]), strict=True):
            assert guess == by_hand(model, text.tokens, len(guess))
            made += len(guess)
            right = chance.randint(-1, len(guess))  # -1: the text did not go on
            text.tokens += [] if right < 0 else [*guess[:right], chance.randrange(40)]
        check_slots(draft)
    assert made > 60
    fourth = Text(3, requests[0], texts[0].sampler, 99, [1, 2, 3])
    assert draft.propose([fourth], [4]) == [[]]  # every state is another text's
    for text in texts:
        draft.forget(text)
    assert draft.propose([fourth], [4]) == [by_hand(model, fourth.tokens, 4)]
    check_slots(draft)
    assert guessing_states(3, 4) == 9


def test_blocks_in_other_memory_are_refused_by_the_flag(
    model: Transformer, make_model: Callable[..., Transformer]
) -> None:
    with pytest.raises(UsageError, match="--cache-offload"):
        Engine(model, EngineConfig(offload_bytes=1 << 20))
    check_offload(model.config, 0)
    check_offload(make_model().config, 1 << 20)


class Copies:
    """Remembers what was copied."""

    kinds: ClassVar[list[StateKind]] = []

    def __init__(self) -> None:
        self.made: list[tuple[int, int]] = []

    def read(self, number: int, slot: int) -> NDArray[np.uint8]:
        raise AssertionError

    def write(self, number: int, slot: int, content: NDArray[np.uint8]) -> None:
        raise AssertionError

    def copy(self, source: int, target: int) -> None:
        self.made.append((source, target))


def test_a_state_that_nobody_is_to_go_on_from_makes_room_for_the_next() -> None:
    slots = Copies()
    memory = StateMemory(slots, 1)
    assert num_slots(1) == 3
    own = memory.take()
    memory.keep(b"prompt", own)
    memory.keep(b"one", own)
    memory.keep(b"two", own, instead_of=b"one")
    assert [memory.has(key) for key in (b"prompt", b"one", b"two")] == [True, False, True]
    memory.keep(b"three", own)
    assert not memory.has(b"prompt")
    memory.go_on(b"two", own)
    assert slots.made[-1] == (slots.made[2][1], own)
    memory.keep(b"four", own)  # `three` has been asked for longest ago
    assert memory.has(b"two") and not memory.has(b"three")


def test_a_state_whose_block_is_gone_makes_room_before_older_ones() -> None:
    memory = StateMemory(Copies(), 1)
    own = memory.take()
    for key in (b"oldest", b"lost"):
        memory.keep(key, own)
    memory.keep(b"new", own, has_block=lambda key: key != b"lost")
    assert [memory.has(key) for key in (b"oldest", b"lost", b"new")] == [True, False, True]
    memory.keep(b"newer", own)
    assert [memory.has(key) for key in (b"oldest", b"new", b"newer")] == [False, True, True]
