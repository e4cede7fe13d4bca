"""Engines whose model lies in parts beside engines that have all of it, and what the parts are told."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch

from llmkit.engine.adapters.values import Adapter
from llmkit.engine.config import SamplingConfig
from llmkit.engine.drafts import PromptLookup
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.module_weights import pack_model
from llmkit.engine.parallel.mirror import Lead
from llmkit.engine.parallel.passes import MAIN, PassReader
from llmkit.engine.request import Request
from llmkit.errors import UsageError
from llmkit.kernels.library import available
from llmkit.kernels.memory import Floats
from llmkit.model.load import load_model
from tests.engine.parallel.conftest import FAMILIES
from tests.engine.parallel.second import Second, second_process
from tests.engine.parallel.threads import ThreadFollowers, divided_engine

COMMON = (7, 3, 19, 30, 2, 11, 5, 23, 31)
"""What prompts begin with: two blocks of four, and one token more."""
Save = Callable[[str], Path]


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Second]:
    with second_process(tmp_path_factory.mktemp("second")) as process:
        yield process


def requests(vocab: int = 40, count: int = 5) -> list[Request]:
    """Prompts of many lengths, every other one with the same beginning."""
    generator = torch.Generator().manual_seed(1)
    sampling = SamplingConfig(max_tokens=7, temperature=0.0, ignore_eos=True)
    asked = []
    for number in range(count):
        length = int(torch.randint(1, 20, (), generator=generator))
        own = tuple(torch.randint(vocab, (length,), generator=generator).tolist())
        asked.append(Request((*COMMON, *own) if number % 2 else own, sampling))
    return asked


def written(engine: Engine, asked: list[Request]) -> tuple[list[list[int]], list[Floats]]:
    """Tokens of each text, and all scores that they were drawn from, text by text."""
    texts: dict[int, list[int]] = {engine.submit(request): [] for request in asked}
    scores: dict[int, list[Floats]] = {number: [] for number in texts}
    engine.on_rows = lambda number, rows: scores[number].append(rows.copy())
    while not engine.is_idle:
        for event in engine.step():
            assert event.error is None, event.error
            assert event.drawn is not None
            texts[event.number].append(event.drawn.id)
    return list(texts.values()), [np.concatenate(one) for one in scores.values()]


@pytest.mark.parametrize("family", FAMILIES)
def test_two_parts_write_what_the_whole_does_from_the_same_scores(family: str, save_family: Save) -> None:
    folder = save_family(family)
    config = EngineConfig(positions=200, block_tokens=4, max_texts=3, pass_tokens=11)
    expected, scores = written(Engine(load_model(folder), config), requests())
    engine, _ = divided_engine(folder, 2, config)
    found, theirs = written(engine, requests())
    engine.lead.close()
    assert found == expected
    for ours, other in zip(theirs, scores, strict=True):
        torch.testing.assert_close(ours, other, atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not available(), reason="the kernels are not here")
@pytest.mark.parametrize("family", FAMILIES)
def test_the_kernels_write_with_parts_what_they_write_with_the_whole(
    family: str, save_family: Save, second: Second
) -> None:
    folder = save_family(family)
    config = EngineConfig(positions=200, block_tokens=4, max_texts=3, pass_tokens=11)
    expected, scores = written(Engine(pack_model(load_model(folder)), config), requests())
    engine = second.engine(folder, config)
    found, theirs = written(engine, requests())
    engine.lead.close()
    assert found == expected
    for ours, other in zip(theirs, scores, strict=True):
        torch.testing.assert_close(ours, other, atol=1e-5, rtol=1e-5)


def test_an_int8_cache_and_guesses_change_no_token_of_parts(save_family: Save) -> None:
    folder = save_family("llama")
    config = EngineConfig(positions=200, block_tokens=4, max_texts=3, kv_dtype="int8")
    proposers = [PromptLookup(3) for _ in range(2)]
    whole = Engine(load_model(folder), config, proposer=proposers[0])
    engine, _ = divided_engine(folder, 2, config, proposer=proposers[1])
    assert written(engine, requests())[0] == written(whole, requests())[0]
    assert engine.counts.proposed_drafts == whole.counts.proposed_drafts > 0
    engine.lead.close()


def test_four_parts_find_in_the_cache_what_the_whole_does(save_family: Save) -> None:
    folder = save_family("llama")  # 2 key heads: each is on two processes
    config = EngineConfig(positions=200, block_tokens=4, max_texts=1)
    whole = Engine(load_model(folder), config)
    engine, _ = divided_engine(folder, 4, config)
    assert written(engine, requests())[0] == written(whole, requests())[0]
    assert engine.counts.cached_tokens == whole.counts.cached_tokens > 0
    engine.lead.close()


@pytest.mark.parametrize("kernels", ["torch", "native"])
def test_hidden_states_of_parts_add_up_to_those_of_the_whole_in_memory_that_goes(
    kernels: str, save_family: Save, second: Second
) -> None:
    if kernels == "native" and not available():
        pytest.skip("the kernels are not here")
    folder = save_family("qwen3")
    config = EngineConfig(positions=48, pass_tokens=8, block_tokens=4)
    rows, skipped = [[7, 3, 19], [30, 2, 11, 5, 23, 31, 9, 9, 1, 17, 4], [8]], [0, 2, 0]
    told: Second | ThreadFollowers = second
    if kernels == "native":
        engine = second.engine(folder, config)
    else:
        engine, told = divided_engine(folder, 2, config)
    found = []
    for one in (Engine(load_model(folder), config), engine):
        reading = one.hidden_sums(rows, skipped)
        while not reading.step():
            pass
        found.append(reading.sums)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-5)
    memories = [PassReader(1).read(message)[0] for message in told.messages]
    assert len({memory.number for memory in memories}) == 3 and MAIN not in [one.number for one in memories]
    opened = [memory.number for memory in memories if memory.blocks]
    assert [one for memory in memories for one in memory.gone] == opened[:-1]
    engine.lead.close()


def test_no_adapter_is_added_to_parts(save_family: Save) -> None:
    engine, _ = divided_engine(save_family("llama"), 2, EngineConfig(positions=48))
    adapter = Adapter("poet", {}, "")
    with pytest.raises(UsageError, match="adapter 'poet': adapters are not cut"):
        engine.adapters.add(adapter)
    engine.lead.close()


def test_a_pass_that_fails_on_one_process_is_the_end_of_all(save_family: Save) -> None:
    class Lost(BaseException):
        """What a process does in the place of ending."""

    class Others:
        def __init__(self) -> None:
            self.told: list[bytes] = []

        def tell(self, message: bytes) -> None:
            self.told.append(message)

        def lost(self, reason: str) -> NoReturn:
            raise Lost(reason)

        def close(self) -> None:
            pass

    class Failing:
        kernels = "torch"

        def run(self, works: object) -> list[None]:
            raise MemoryError("no room")

    others = Others()
    runner = Lead(others).over(Failing())  # type: ignore[arg-type]
    with pytest.raises(Lost, match="a pass failed: no room"):
        runner.run([])
    assert len(others.told) == 1
