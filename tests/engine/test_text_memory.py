"""Memory in groups of layers: what windows have passed is let go, and nothing that is written changes."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.blocks import BlockPool
from llmkit.engine.config import SamplingConfig
from llmkit.engine.drafts import PromptLookup
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.layer_groups import LayerGroups
from llmkit.engine.module_weights import pack_model
from llmkit.engine.native.weights import PackedModel
from llmkit.engine.prompt_cache import MadeWith, SavedBlocks, save_blocks
from llmkit.engine.request import Drawn, Request
from llmkit.engine.text import Text
from llmkit.engine.text_memory import TextMemory
from llmkit.errors import ResourceError
from llmkit.kernels.library import available, why_not
from llmkit.model.transformer import Transformer
from llmkit.model.window import Window
from tests.written_texts import write

Make = Callable[..., Transformer]
Model = Transformer | PackedModel
FIELDS: dict[str, Any] = {
    **{"model_type": "qwen2", "attention_bias": True, "num_key_value_heads": 2},
    **{"sliding_window": 20, "max_position_embeddings": 1000},
}
LAYERS = {"mixed": (0, 2), "all": (0, 1, 2)}
BLOCK = EngineConfig.block_tokens
NAMES = {"model": "a", "dtype": "float32", "weights": "stored", "rope_scaling": "null"}
MADE = MadeWith(**NAMES, block_tokens=BLOCK, layers_in_block=1)
HELD = 7
"""Blocks of a group of 20 positions while a text is written: 19, the 63 of a tile, one, and their ends."""


@pytest.fixture(params=["native", "torch"])
def compute(request: pytest.FixtureRequest) -> Callable[[Transformer], Model]:
    """The model as one of the two runners has it."""
    if request.param == "native" and not available():
        pytest.skip(f"the native library {why_not()}")
    return pack_model if request.param == "native" else lambda model: model


@pytest.fixture
def make(make_model: Make, compute: Callable[[Transformer], Model]) -> Callable[[str], Model]:
    """A model whose layers see 20 positions: two of three, or all."""
    return lambda kind: compute(make_model(sliding_layers=LAYERS[kind], **FIELDS))


def prompts(*lengths: int) -> list[list[int]]:
    pick = random.Random(0)
    return [pick.choices(range(40), k=length) for length in lengths]


def request(prompt: list[int], count: int) -> Request:
    sampling = SamplingConfig(max_tokens=count, temperature=0.0, ignore_eos=True, logprobs=2)
    return Request(tuple(prompt), sampling)


def is_same(model: Model, found: list[list[Drawn]], expected: list[list[Drawn]]) -> bool:
    """To the bit where the kernels compute; torch's sums depend on what else is in a pass."""
    if isinstance(model, PackedModel):
        return found == expected
    ids, theirs = ([[one.id for one in text] for text in texts] for texts in (found, expected))
    scores, others = (
        [one.score.logprob for text in texts for one in text if one.score] for texts in (found, expected)
    )
    return ids == theirs and scores == pytest.approx(others, abs=1e-4)


def whole(model: Model, **sizes: Any) -> Engine:
    """The slow twin: every layer keeps everything."""
    engine = Engine(model, EngineConfig(**sizes, lets_go=False))
    assert len(engine._scheduler.memory.tables(b"")) == 1
    return engine


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("pass_tokens", [9, 512])
def test_texts_are_bit_for_bit_those_of_layers_that_keep_everything(
    kind: str, pass_tokens: int, make: Callable[[str], Model]
) -> None:
    model = make(kind)
    asked = [request(prompt, 150) for prompt in prompts(1, 70, 333, 20)]
    sizes = {"positions": 1200, "max_texts": 3, "pass_tokens": pass_tokens, "reuse": False}
    expected = write(whole(model, **sizes), asked)
    assert is_same(model, write(Engine(model, EngineConfig(**sizes)), asked), expected)


@pytest.mark.parametrize(("kind", "whole_groups", "windows"), [("mixed", 1, 2), ("all", 0, 1)])
def test_a_text_takes_the_blocks_of_its_windows_and_of_layers_that_see_all(
    kind: str, whole_groups: int, windows: int, make: Callable[[str], Model]
) -> None:
    engine = Engine(make(kind), EngineConfig(max_texts=1, pass_tokens=16))
    most = 0
    engine.submit(request([1] * 400, 300))
    while not engine.is_idle:
        engine.step()
        most = max(most, engine.pool.num_blocks - engine.pool.num_free)
    everything = whole_groups * -(-699 // BLOCK)
    assert everything < most <= everything + windows * (HELD + 1)  # and the block of a pass of 16


def test_a_cache_for_a_window_is_as_small_as_windows_are_and_takes_a_text_of_any_length(
    make: Callable[[str], Model],
) -> None:
    model = make("all")
    engine = Engine(model, EngineConfig(max_texts=1, pass_tokens=32))
    assert engine.pool.num_blocks == 2 * HELD + 2  # as much to be found again, and a pass of two blocks
    twin = whole(model, max_texts=1, pass_tokens=32)
    assert engine.store.nbytes * 63 == twin.store.nbytes * 16
    asked = [request([3, 1, 4] * 230, 300)]
    assert is_same(model, write(engine, asked), write(twin, asked))


def test_a_text_that_layers_without_a_window_have_no_room_for_is_refused(
    make: Callable[[str], Model],
) -> None:
    engine = Engine(make("mixed"), EngineConfig(positions=320, max_texts=1, pass_tokens=32))
    with pytest.raises(ResourceError, match=r"may come to 899 positions, and the cache has 544$"):
        engine.submit(request([1] * 600, 300))
    write(engine, [request([1] * 20, 300)])


@pytest.mark.parametrize("kind", LAYERS)
def test_what_a_text_begins_with_is_found_while_its_windows_are_there(
    kind: str, make: Callable[[str], Model]
) -> None:
    model, (prompt, other) = make(kind), prompts(200, 700)
    engine = Engine(model, EngineConfig(positions=1000, max_texts=1))
    asked = [request(prompt, 30)]
    expected = write(engine, asked)
    before = engine.counts.computed_tokens
    assert is_same(model, write(engine, asked), expected)
    assert engine.counts.cached_tokens == 199 // BLOCK * BLOCK
    assert engine.counts.computed_tokens - before == 200 - 199 // BLOCK * BLOCK + 29
    write(engine, [request(other, 100)])  # which takes all the windows' blocks that there are
    assert is_same(model, write(engine, asked), expected)
    assert is_same(model, write(whole(model, max_texts=1), asked), expected)


@pytest.mark.parametrize("kind", LAYERS)
def test_what_prompts_have_in_common_is_found_after_long_answers_and_by_another_engine(
    kind: str, make: Callable[[str], Model], tmp_path: Path
) -> None:
    model, (common, *ends) = make(kind), prompts(480, 10, 12, 9)
    count = {"mixed": 400, "all": 280}[kind]  # each answer passes through more blocks than there are
    asked = [request(common + end, count) for end in ends]
    engine = Engine(model, EngineConfig(max_texts=1, pass_tokens=32))
    for one in asked:
        assert is_same(model, write(engine, [one]), write(whole(model, max_texts=1), [one]))
    assert engine.counts.cached_tokens == 2 * 480
    save_blocks(tmp_path / "cache", engine.store, engine.pool, MADE)
    again = Engine(model, EngineConfig(max_texts=1))
    again.pool.tiers.append(SavedBlocks(tmp_path / "cache", again.store))
    write(again, [request(common + ends[0], 1)])
    assert again.counts.cached_tokens == 480


@pytest.mark.parametrize("kind", LAYERS)
def test_texts_that_wait_for_memory_start_again_and_are_the_same(
    kind: str, make: Callable[[str], Model]
) -> None:
    model = make(kind)
    asked = [request(prompt, 200) for prompt in prompts(30, 45, 60, 75)]
    expected = write(whole(model, positions=4000, max_texts=4), asked)
    engine = Engine(model, EngineConfig(positions=320, max_texts=4, pass_tokens=32))
    assert is_same(model, write(engine, asked), expected)
    assert engine.pool.num_free == engine.pool.num_blocks
    assert kind == "all" or engine.counts.restarts > 0


@pytest.mark.parametrize("kind", LAYERS)
def test_guesses_that_are_refused_cost_no_window_what_it_needs(
    kind: str, make: Callable[[str], Model]
) -> None:
    model = make(kind)
    asked = [request([5, 6, 7, 8] * 20 + prompt, 200) for prompt in prompts(3, 9)]
    expected = write(whole(model, max_texts=2), asked)
    engine = Engine(model, EngineConfig(max_texts=2), proposer=PromptLookup(6))
    assert is_same(model, write(engine, asked), expected)
    assert 0 < engine.counts.accepted_drafts < engine.counts.proposed_drafts


@pytest.mark.parametrize("kind", LAYERS)
def test_windows_come_back_from_host_memory_and_from_a_file(
    kind: str, make: Callable[[str], Model], tmp_path: Path
) -> None:
    model, (first, second) = make(kind), prompts(200, 210)
    sizes = {"positions": 256, "max_texts": 1, "pass_tokens": 64}
    plain = Engine(model, EngineConfig(**sizes))
    expected = write(plain, [request(first, 20)]) + write(plain, [request(second, 20)])
    engine = Engine(model, EngineConfig(**sizes, offload_bytes=4 * plain.store.nbytes))
    for _ in range(2):
        assert is_same(
            model, write(engine, [request(first, 20)]) + write(engine, [request(second, 20)]), expected
        )
    assert engine.counts.restored_blocks > 0
    assert engine.counts.cached_tokens == 199 // BLOCK * BLOCK + 209 // BLOCK * BLOCK

    save_blocks(tmp_path / "cache", engine.store, engine.pool, MADE, host=engine.host)
    MADE.check(tmp_path / "cache")
    again = Engine(model, EngineConfig(**sizes))
    again.pool.tiers.append(SavedBlocks(tmp_path / "cache", again.store))
    assert is_same(model, write(again, [request(first, 20)]), expected[:1])
    assert again.counts.cached_tokens == 199 // BLOCK * BLOCK


def test_of_what_windows_have_passed_the_prompt_stays_and_its_beginning_goes_first() -> None:
    sampler: Any = None
    pool = BlockPool(12)
    memory = TextMemory(pool, 3, LayerGroups((0,), (0,), (Window(8),), tile=1), pass_tokens=64, reuse=True)
    asked = Request(tuple(range(14)), SamplingConfig(max_tokens=16))
    text = Text(0, asked, sampler, 16, list(range(30)), tables=memory.tables(b"root"))
    assert memory.hold(text, 30)
    memory.commit(text, 0, 30)
    keys = text.table.keys
    assert [pool.has(key) for key in keys] == [True] * 5 + [False] * 2 + [True] * 3  # 15, 21, 30 positions
    for gone in range(-4, 5):  # two blocks are empty, and two were written
        assert [pool.has(key) for key in keys[:5]] == [number >= gone for number in range(5)]
        assert pool.take() is not None
    assert pool.take() is None and all(pool.has(key) for key in keys[7:])


def test_a_text_is_found_up_to_where_no_block_of_a_window_is_missing() -> None:
    sampler: Any = None
    groups = LayerGroups((0,), (0,), (Window(8),), tile=1)
    pool = BlockPool(20)
    memory = TextMemory(pool, 3, groups, pass_tokens=64, reuse=True)
    asked = Request(tuple(range(30)), SamplingConfig(max_tokens=1))

    def text() -> Text:
        return Text(0, asked, sampler, 1, list(asked.prompt), tables=memory.tables(b"root"))

    first = text()
    assert memory.hold(first, 30)
    memory.commit(first, 0, 30)
    assert (first.table.gone, len(first.table)) == (23 // 3, 10)
    key = first.table.keys[7]
    memory.give_back(first)
    for missing, found in ((None, 27), (key, 21)):  # without block 7: 21 is what 4, 5 and 6 go before
        if missing is not None:
            pool._forget(pool._cached[missing])
        second = text()
        memory.find(second)
        assert second.computed == found
        assert [block.key for block in second.table] == second.table.keys[second.table.gone : found // 3]
        memory.give_back(second)
    pool.check()
