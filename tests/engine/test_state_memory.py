"""Texts of models with layers of state: each writes what it writes alone, and goes on from what was kept."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from llmkit.engine.config import SamplingConfig
from llmkit.engine.draft_model import DraftModel
from llmkit.engine.drafts import PromptLookup
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.module_weights import pack_model
from llmkit.engine.native.weights import PackedModel
from llmkit.engine.request import Request
from llmkit.engine.state_memory import StateMemory, check_states, num_slots
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
    return texts, found


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


def test_guesses_are_refused_by_the_flag(model: Transformer) -> None:
    with pytest.raises(UsageError, match="--draft"):
        Engine(model, proposer=PromptLookup(2))
    with pytest.raises(UsageError, match="--draft"):
        DraftModel(model)
    with pytest.raises(UsageError, match="--cache-offload"):
        Engine(model, EngineConfig(offload_bytes=1 << 20))
    with pytest.raises(UsageError, match="--prompt-cache"):
        check_states(model.config, saves=True)


class Copies:
    """Remembers what was copied."""

    def __init__(self) -> None:
        self.made: list[tuple[int, int]] = []

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
