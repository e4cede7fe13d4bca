"""Adapters on one base: each text as if its own model had written it, whatever is beside it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from adapters_by_hand import GREEDY, adapter, merged, prompt, write

from llmkit.engine.draft_model import DraftModel
from llmkit.engine.drafts import PromptLookup
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.prompt_cache import MadeWith, SavedBlocks, save_blocks
from llmkit.engine.request import Request
from llmkit.errors import UsageError
from llmkit.model.transformer import Transformer

Make = Callable[..., Transformer]
CONFIG = EngineConfig(positions=400, block_tokens=4, max_texts=6, pass_tokens=9)


def bank(model: Transformer, config: EngineConfig = CONFIG, **options: object) -> Engine:
    engine = Engine(model, config, **options)  # type: ignore[arg-type]
    engine.adapters.load("one", adapter(model, 1))
    engine.adapters.load("two", adapter(model, 2, rank=5, dora=True))
    return engine


def asked(length: int = 21) -> list[Request]:
    """The same prompt for all, so that any cache shared across adapters would show."""
    names = ("one", None, "two", "one", None, "two")
    return [Request(prompt(seed // 3, length), GREEDY, adapter=name) for seed, name in enumerate(names)]


@pytest.mark.parametrize("pass_tokens", [7, 512])
@pytest.mark.parametrize("reuse", [True, False])
def test_texts_of_two_adapters_and_the_base_are_those_of_each_alone(
    make_model: Make, pass_tokens: int, reuse: bool
) -> None:
    model = make_model()
    config = EngineConfig(positions=400, block_tokens=4, max_texts=6, pass_tokens=pass_tokens, reuse=reuse)
    together = write(bank(model, config), asked())
    assert together == [write(bank(model, config), [request])[0] for request in asked()]
    assert len({tuple(text) for text in together}) > 3  # adapters do something


def test_texts_are_those_of_the_merged_models(make_model: Make) -> None:
    model = make_model()
    models = {
        None: model,
        "one": merged(model, adapter(model, 1)),
        "two": merged(model, adapter(model, 2, rank=5, dora=True)),
    }
    bare = [Request(one.prompt, one.sampling) for one in asked()]
    expected = [
        write(Engine(models[one.adapter], CONFIG), [plain])[0]
        for one, plain in zip(asked(), bare, strict=True)
    ]
    assert write(bank(model), asked()) == expected


def test_a_strength_is_that_of_the_merged_model(make_model: Make) -> None:
    model = make_model()
    for weights in (adapter(model, 1), adapter(model, 2, dora=True)):
        engine = Engine(model, CONFIG)
        engine.adapters.load("half", weights, strength=0.5)
        twin = Engine(merged(model, weights, 0.5), CONFIG)
        found = write(engine, [Request(prompt(3, 9), GREEDY, adapter="half")])
        assert found == write(twin, [Request(prompt(3, 9), GREEDY)])


def test_no_adapter_finds_what_another_has_read(make_model: Make) -> None:
    engine = bank(make_model())
    ids = prompt(0, 21)
    for name, cached in (("one", 0), ("two", 0), (None, 0), ("one", 20), (None, 20)):
        before = engine.counts.cached_tokens
        write(engine, [Request(ids, GREEDY, adapter=name)])
        assert engine.counts.cached_tokens - before == cached, name


def test_one_name_for_another_adapter_finds_nothing_of_the_first(make_model: Make) -> None:
    model = make_model()
    engine = bank(model)
    write(engine, [Request(prompt(0, 21), GREEDY, adapter="one")])
    engine.adapters.unload("one")
    engine.adapters.load("one", adapter(model, 9))
    write(engine, [Request(prompt(0, 21), GREEDY, adapter="one")])
    assert engine.counts.cached_tokens == 0


@pytest.mark.parametrize("guesses", ["lookup", "model"])
def test_guesses_leave_texts_as_they_are(make_model: Make, guesses: str) -> None:
    model = make_model()
    proposer = PromptLookup() if guesses == "lookup" else DraftModel(make_model(), count=3, positions=400)
    assert write(bank(model, proposer=proposer), asked()) == write(bank(model), asked())


def test_an_int8_cache_gives_a_text_in_company_what_it_gives_it_alone(make_model: Make) -> None:
    model = make_model()
    config = EngineConfig(positions=400, block_tokens=4, max_texts=6, kv_dtype="int8")
    alone = [write(bank(model, config), [request])[0] for request in asked()]
    assert write(bank(model, config), asked()) == alone


def test_a_saved_cache_is_found_by_the_adapter_that_made_it_alone(make_model: Make, tmp_path: Path) -> None:
    model = make_model()
    path = tmp_path / "cache.safetensors"
    made = MadeWith(model="m", dtype="float32", weights="stored", rope_scaling="none", block_tokens=4)
    first = bank(model)
    expected = write(first, [Request(prompt(0, 21), GREEDY, adapter="two")])
    save_blocks(path, first.store, first.pool, made)
    later = bank(model)
    later.pool.tiers.append(SavedBlocks(path, later.store))
    write(later, [Request(prompt(0, 21), GREEDY, adapter="one"), Request(prompt(0, 21), GREEDY)])
    assert later.counts.cached_tokens == 0
    assert write(later, [Request(prompt(0, 21), GREEDY, adapter="two")]) == expected
    assert later.counts.cached_tokens == 20


def test_a_text_that_starts_over_keeps_its_adapter(make_model: Make) -> None:
    model = make_model()
    tight = EngineConfig(positions=52, block_tokens=4, max_texts=4, reuse=False)
    engine = bank(model, tight)
    assert write(engine, asked(12)) == write(bank(model), asked(12))
    assert engine.counts.restarts


def test_unloading_waits_for_the_texts_that_have_it(make_model: Make) -> None:
    model = make_model()
    engine = bank(model)
    alone = write(bank(model), [Request(prompt(0, 9), GREEDY, adapter="one")])
    number = engine.submit(Request(prompt(0, 9), GREEDY, adapter="one"))
    assert not engine.adapters.unload("one")
    with pytest.raises(UsageError, match=r"no adapter 'one' \(loaded: two\)"):
        engine.submit(Request(prompt(0, 9), GREEDY, adapter="one"))
    engine.adapters.load("one", adapter(model, 7))  # another of the name does not disturb it
    drawn = []
    while not engine.is_idle:
        drawn += [event.drawn.id for event in engine.step() if event.drawn and event.number == number]
    assert [drawn] == alone
    assert engine.adapters.unload("one")
    assert engine.adapters.unload("two")
    assert engine.adapters.names == ()


def test_the_base_is_untouched(make_model: Make) -> None:
    model = make_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    write(bank(model), asked())
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_unknown_name_is_told_with_those_there_are(make_model: Make) -> None:
    engine = bank(make_model())
    with pytest.raises(UsageError, match=r"no adapter 'tow' \(loaded: one, two\)") as error:
        engine.submit(Request(prompt(0, 9), GREEDY, adapter="tow"))
    assert "did you mean 'two'" in error.value.hint
    assert engine.is_idle
    with pytest.raises(UsageError, match="already"):
        engine.adapters.load("one", adapter(make_model(), 3))


def test_uses_count_texts_and_memory(make_model: Make) -> None:
    model = make_model()
    engine = bank(model)
    write(engine, asked())
    uses = {one.name: one for one in engine.adapters.uses()}
    assert {name: one.texts for name, one in uses.items()} == {"one": 2, "two": 2}
    assert uses["one"].memory_bytes == adapter(model, 1).nbytes
    assert uses["two"].memory_bytes == adapter(model, 2, rank=5, dora=True).nbytes
