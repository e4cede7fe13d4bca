"""States in a prompt cache's file: the same bits, found by another engine, and nothing wrong let in."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.module_weights import pack_model
from llmkit.engine.native.weights import PackedModel
from llmkit.engine.prompt_cache import MadeWith, SavedBlocks, save_blocks
from llmkit.engine.saved_states import SavedStates, is_of_states
from llmkit.errors import DataError
from llmkit.formats.model_folder import read_header
from llmkit.kernels.library import available
from llmkit.model.transformer import Transformer
from tests.engine.test_state_memory import BLOCK, asked, by_hand, prompt
from tests.model.recurrent.conftest import FIELDS, hybrid

MADE = MadeWith(model="a" * 64, dtype="float32", weights="stored", rope_scaling="null", block_tokens=BLOCK)
KERNELS = ["torch", pytest.param("native", marks=pytest.mark.skipif(not available(), reason="no library"))]


@pytest.fixture(params=FIELDS, scope="module")
def model(request: pytest.FixtureRequest) -> Transformer:
    """One of each kind of layer."""
    return hybrid(request.param)


@pytest.fixture(params=KERNELS)
def computes(request: pytest.FixtureRequest, model: Transformer) -> Transformer | PackedModel:
    """What runs it."""
    return pack_model(model) if request.param == "native" else model


def start(model: Transformer | PackedModel, path: Path | None = None) -> tuple[Engine, SavedBlocks | None]:
    """An engine that finds what is in a file."""
    engine = Engine(model, EngineConfig(positions=512, max_texts=1))
    if path is None:
        return engine, None
    saved = SavedBlocks(path, engine.store)
    engine.pool.tiers.append(saved)
    assert engine.states is not None
    engine.states.saved = SavedStates(path, engine.states.slots)
    return engine, saved


def save(path: Path, engine: Engine, saved: SavedBlocks | None = None) -> None:
    save_blocks(path, engine.store, engine.pool, MADE, saved=saved, memory=engine.states)


def ids_of(engine: Engine, ids: list[int], count: int = 20) -> list[int]:
    return [drawn.id for drawn in engine.run(asked(ids, count))]


def states_of(engine: Engine) -> dict[bytes, list[bytes]]:
    assert engine.states is not None
    kinds = range(len(engine.states.slots.kinds))
    return {key: [read(number).tobytes() for number in kinds] for key, read in engine.states.contents()}


def test_another_engine_goes_on_from_the_same_bits_and_writes_the_same_text(
    model: Transformer, computes: Transformer | PackedModel, tmp_path: Path
) -> None:
    path, ids = tmp_path / "cache", prompt(70)
    first, _ = start(computes)
    text = ids_of(first, ids)
    save(path, first)
    kept = states_of(first)
    assert len(kept) == 2  # where the prompt's last block ends, and the answer's
    again, saved = start(computes, path)
    assert ids_of(again, ids) == text == by_hand(model, ids, 20)
    assert again.counts.cached_tokens == 64
    memory = again.states
    assert memory is not None and memory.saved is not None
    own = memory.take()
    for key, content in kept.items():
        memory.saved.write(key, own)
        found = [memory.slots.read(number, own).tobytes() for number in range(len(memory.slots.kinds))]
        assert found == content
    longer = [*ids, *text, 3]
    second, _ = start(computes, path)
    assert ids_of(second, longer) == by_hand(model, longer, 20)
    assert second.counts.cached_tokens == (70 + 19) // BLOCK * BLOCK
    before = path.stat().st_ino
    save(path, again, saved)
    assert path.stat().st_ino == before  # it has everything


def test_what_was_gone_on_from_is_saved_with_what_is_new(tmp_path: Path) -> None:
    model, path, ids = hybrid("lfm2"), tmp_path / "cache", prompt(40)
    first, _ = start(model)
    ids_of(first, ids)
    save(path, first)
    second, saved = start(model, path)
    ids_of(second, [*ids, *prompt(30, 1)])
    ids_of(second, prompt(50, 2))  # whose states take the places of all others that are kept
    save(path, second, saved)
    third, _ = start(model, path)
    assert ids_of(third, ids) == by_hand(model, ids, 20)
    assert third.counts.cached_tokens == 32


def _other_kernels(tensors: dict[str, np.ndarray]) -> None:
    tensors["states.0"] = tensors["states.0"].reshape(len(tensors["state_keys"]), -1)


def _no_keys(tensors: dict[str, np.ndarray]) -> None:
    del tensors["state_keys"]


def _other_bits(tensors: dict[str, np.ndarray]) -> None:
    tensors["states.1"][0, 0, 0] += 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [(_other_kernels, "as other kernels"), (_no_keys, "damaged"), (_other_bits, "damaged")],
)
def test_states_of_other_kernels_and_damaged_ones_are_refused(
    change: Callable[[dict[str, np.ndarray]], None], problem: str, tmp_path: Path
) -> None:
    model, path, ids = hybrid("lfm2"), tmp_path / "cache", prompt(40)
    first, _ = start(model)
    ids_of(first, ids, 2)
    save(path, first)
    tensors = {name: one.copy() for name, one in load_file(path).items()}
    change(tensors)
    save_file(tensors, path, metadata=dict(read_header(path).metadata))
    with pytest.raises(DataError, match=problem):
        ids_of(start(model, path)[0], ids)


def test_a_file_without_states_has_none_to_find(tmp_path: Path) -> None:
    model, path, ids = hybrid("lfm2"), tmp_path / "cache", prompt(40)
    first, _ = start(model)
    ids_of(first, ids)
    save_blocks(path, first.store, first.pool, MADE)
    assert not any(map(is_of_states, read_header(path).tensors))
    second, _ = start(model, path)
    assert ids_of(second, ids) == by_hand(model, ids, 20)
    assert second.counts.cached_tokens == 0
