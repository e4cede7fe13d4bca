"""A file of keys and values: whole, checked, and texts on top of it that are those of a run without it."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmkit.engine.block_store import BlockKind
from llmkit.engine.blocks import chain_key, root_key
from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.prompt_cache import SCHEMA, MadeWith, SavedBlocks, save_blocks
from llmkit.engine.request import Request
from llmkit.errors import DataError, MissingError
from llmkit.formats.model_folder import read_header
from llmkit.model.transformer import Transformer

Make = Callable[..., Transformer]
MADE = MadeWith(model="a" * 64, dtype="float32", weights="stored", rope_scaling="null", block_tokens=4)
PROMPT = random.Random(0).choices(range(40), k=30)


def _engine(model: Transformer, **sizes: Any) -> Engine:
    return Engine(model, EngineConfig(**({"block_tokens": 4, "max_texts": 1} | sizes)))


def _ids(engine: Engine, prompt: list[int] = PROMPT, count: int = 9) -> list[int]:
    request = Request(tuple(prompt), SamplingConfig(max_tokens=count, temperature=0.0, ignore_eos=True))
    return [drawn.id for drawn in engine.run(request)]


def _save(path: Path, engine: Engine, saved: SavedBlocks | None = None) -> None:
    save_blocks(path, engine.store, engine.pool, MADE, host=engine.host, saved=saved)


def _blocks_in(path: Path) -> int:
    return read_header(path).tensors["keys"].shape[0]


def _load(path: Path, engine: Engine) -> SavedBlocks:
    saved = SavedBlocks(path, engine.store)
    engine.pool.tiers.append(saved)
    return saved


def test_another_engine_computes_only_the_last_block_and_writes_the_same_text(
    make_model: Make, tmp_path: Path
) -> None:
    model, path = make_model(), tmp_path / "cache"
    first = _engine(model)
    expected = _ids(first)
    _save(path, first)
    assert _blocks_in(path) == (30 + 8) // 4  # the last token drawn is not read
    second = _engine(model)
    saved = _load(path, second)
    assert _ids(second) == expected
    assert second.counts.cached_tokens == 28 and second.counts.computed_tokens == 2 + 8
    assert len(saved.found) == 7 and len(saved) == 9
    second.pool.check()
    for block in second.pool.findable():
        original = first.pool.find(block.key or b"")
        assert original is not None
        for mine, theirs in zip(second.store.by_block, first.store.by_block, strict=True):
            torch.testing.assert_close(mine[block.index], theirs[original.index], rtol=1e-4, atol=1e-5)


def test_the_file_is_what_the_safetensors_library_reads_and_its_keys_are_those_of_its_tokens(
    make_model: Make, tmp_path: Path
) -> None:
    engine, path = _engine(make_model()), tmp_path / "cache"
    text = PROMPT + _ids(engine)
    _save(path, engine)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["schema"] == SCHEMA and metadata["model"] == "a" * 64 and metadata["llmkit"]
    tensors = load_file(path)
    key, expected = root_key(""), {}
    for begin in range(0, 36, 4):
        parent, ids = key, text[begin : begin + 4]
        key = chain_key(parent, ids)
        expected[key] = parent, ids
    rows = zip(*(tensors[name] for name in ("keys", "parents", "ids")), strict=True)
    found = {bytes(key.tolist()): (bytes(parent.tolist()), ids.tolist()) for key, parent, ids in rows}
    assert found == expected
    for layer in range(3):
        for number in range(2):
            values = tensors[f"layers.{layer}.{number}"]
            assert values.shape == (9, 4, 4, 4) and values.dtype == torch.float32
            for place, key_row in enumerate(tensors["keys"]):
                block = engine.pool.find(bytes(key_row.tolist()))
                assert block is not None
                theirs = engine.store.layers[layer][number][block.index * 4 : block.index * 4 + 4]
                assert torch.equal(values[place], theirs)


def test_a_text_that_goes_on_from_half_of_a_saved_one_has_that_half(make_model: Make, tmp_path: Path) -> None:
    model, path = make_model(), tmp_path / "cache"
    first = _engine(model)
    _ids(first)
    _save(path, first)
    other = [*PROMPT[:17], 1, 2, 3, 4, 5]
    engine = _engine(model)
    saved = _load(path, engine)
    assert _ids(engine, other) == _ids(_engine(model), other)
    assert engine.counts.cached_tokens == 16
    _save(path, engine, saved)
    assert _blocks_in(path) == (22 + 8) // 4  # what this run used, and no more
    again = _engine(model)
    _load(path, again)
    _ids(again, other)
    assert again.counts.cached_tokens == 20


def test_a_file_that_has_everything_already_is_left_as_it_is(make_model: Make, tmp_path: Path) -> None:
    model, path = make_model(), tmp_path / "cache"
    first = _engine(model)
    _ids(first)
    _save(path, first)
    before = path.read_bytes(), path.stat().st_ino
    for prompt, count in ((PROMPT, 9), (PROMPT[:9], 1)):
        engine = _engine(model)
        saved = _load(path, engine)
        _ids(engine, prompt, count)
        _save(path, engine, saved)
    assert (path.read_bytes(), path.stat().st_ino) == before
    _save(tmp_path / "none", _engine(model))
    assert not (tmp_path / "none").exists()


def test_what_was_found_and_had_to_leave_the_pool_is_written_again(make_model: Make, tmp_path: Path) -> None:
    model, path = make_model(), tmp_path / "cache"
    first = _engine(model)
    _ids(first)
    _save(path, first)
    engine = _engine(model, positions=40)
    saved = _load(path, engine)
    _ids(engine)
    other = [(one + 1) % 40 for one in PROMPT]
    _ids(engine, other)  # takes every block
    _save(path, engine, saved)
    assert _blocks_in(path) > 9
    last = _engine(model)
    _load(path, last)
    _ids(last), _ids(last, other)
    assert last.counts.cached_tokens == 28 + 28


def test_what_went_to_host_memory_is_written_too(make_model: Make, tmp_path: Path) -> None:
    model, path = make_model(), tmp_path / "cache"
    engine = _engine(model, positions=40, offload_bytes=1 << 20)
    prompts = [PROMPT, PROMPT[::-1], PROMPT[10:] + PROMPT[:10]]
    for prompt in prompts:
        _ids(engine, prompt)
    assert engine.host is not None and engine.host.kept > 9
    _save(path, engine)
    assert _blocks_in(path) == 3 * 9
    again = _engine(model, positions=480)
    _load(path, again)
    for prompt in prompts:
        _ids(again, prompt)
    assert again.counts.cached_tokens == 3 * 28


class MixedStore:
    """A store as it may be: three arrays a layer, of three dtypes, one of them a number a position."""

    block_tokens = 4

    def __init__(self, layers: int, seed: int) -> None:
        shapes = {"int8": (2, 4), "float16": (), "float32": (3,)}
        self.kinds = [
            BlockKind(layer, number, dtype, shape)
            for layer in range(layers)
            for number, (dtype, shape) in enumerate(shapes.items())
        ]
        draw = np.random.default_rng(seed)
        self.blocks = [
            draw.integers(0, 256, (8, self.block_tokens * kind.position_bytes), np.uint8)
            for kind in self.kinds
        ]

    @property
    def nbytes(self) -> int:
        return sum(one.nbytes for one in self.blocks)

    def read_block(self, number: int, block: int) -> NDArray[np.uint8]:
        return self.blocks[number][block]

    def write_block(self, number: int, block: int, content: NDArray[np.uint8]) -> None:
        self.blocks[number][block] = content


def test_tensors_of_any_number_and_dtype_come_back_bit_for_bit(make_model: Make, tmp_path: Path) -> None:
    model, path = make_model(), tmp_path / "cache"
    store, other = (MixedStore(model.config.num_hidden_layers, seed) for seed in (0, 1))
    engine = _engine(model, positions=32)
    _ids(engine, PROMPT[:20], 1)
    save_blocks(path, store, engine.pool, MADE)
    assert _blocks_in(path) == 5  # which blocks: as the pool says
    assert {one.dtype for one in read_header(path).tensors.values()} >= {"I8", "F16", "F32"}
    saved = SavedBlocks(path, other)
    for block in [*engine.pool.findable()]:
        assert block.key is not None
        kept = saved.find(block.key)
        assert kept is not None
        kept.write(7 - block.index)
        for mine, theirs in zip(other.blocks, store.blocks, strict=True):
            assert np.array_equal(mine[7 - block.index], theirs[block.index])
    saved.check(())
    saved.clear()
    assert saved.find(next(engine.pool.findable()).key or b"") is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_comes_back_bit_for_bit(dtype: torch.dtype, make_model: Make, tmp_path: Path) -> None:
    model, path = make_model().to(dtype), tmp_path / "cache"
    first, second = _engine(model), _engine(model)
    expected = _ids(first, count=1)
    _save(path, first)
    _load(path, second)
    assert _ids(second, count=1) == expected and second.counts.cached_tokens == 28
    with pytest.raises(DataError, match=r"another dtype .found .*16, this run keeps float32"):
        SavedBlocks(path, _engine(make_model()).store)


CHANGES: dict[str, dict[str, Any]] = {
    "model": {"model": "b" * 64},
    "dtype": {"dtype": "bfloat16"},
    "weights": {"weights": "int8"},
    "rope scaling": {"rope_scaling": "{}"},
    "block tokens": {"block_tokens": 16},
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_made_with_something_else_is_refused_with_both(
    what: str, make_model: Make, tmp_path: Path
) -> None:
    engine, path = _engine(make_model()), tmp_path / "cache"
    _ids(engine)
    _save(path, engine)
    MADE.check(path)
    ((name, value),) = CHANGES[what].items()
    wanted, found = str(value)[:12], str(getattr(MADE, name))[:12]
    with pytest.raises(
        DataError, match=rf"another {what} \(found {found}, this run has {wanted}\)"
    ) as raised:
        replace(MADE, **CHANGES[what]).check(path)
    assert raised.value.status == 3


def test_files_of_other_kinds_and_damaged_ones_are_refused(make_model: Make, tmp_path: Path) -> None:
    engine, path = _engine(make_model()), tmp_path / "cache"
    with pytest.raises(MissingError):
        MADE.check(path)
    path.write_text("no safetensors at all")
    with pytest.raises(DataError, match="not a safetensors file"):
        MADE.check(path)
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(DataError, match="not a prompt cache"):
        MADE.check(path)
    _ids(engine)
    _save(path, engine)
    whole = load_file(path)

    def spoiled(**changes: Tensor | None) -> SavedBlocks:
        tensors = {name: one for name, one in (whole | changes).items() if one is not None}
        save_file(tensors, path, metadata={"schema": SCHEMA})
        return SavedBlocks(path, engine.store)

    assert len(spoiled()) == 9
    for changes in (
        {"ids": whole["ids"] + 1},
        {"parents": whole["parents"].flip(0)},
        {"keys": None},
        {"digests": whole["digests"][1:]},
        {"layers.2.1": None},
        {"layers.2.1": whole["layers.2.1"][:, :, :1].contiguous()},
    ):
        with pytest.raises(DataError, match="damaged"):
            spoiled(**changes)


def test_a_block_whose_values_are_damaged_is_found_out_when_it_is_asked_for(
    make_model: Make, tmp_path: Path
) -> None:
    model, path = make_model(), tmp_path / "cache"
    first = _engine(model)
    _ids(first)
    _save(path, first)
    content = bytearray(path.read_bytes())
    with safe_open(path, framework="pt") as file:
        start = int.from_bytes(content[:8], "little") + 8
        assert file.get_slice("layers.0.0").get_shape() == [9, 4, 4, 4]
    content[start + 5] ^= 1  # of the first block
    path.write_bytes(content)
    engine = _engine(model)
    _load(path, engine)
    with pytest.raises(DataError, match="damaged"):
        _ids(engine)
    engine.pool.check()


def test_a_write_that_fails_leaves_the_old_file(
    make_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = make_model(), tmp_path / "cache"
    first = _engine(model)
    _ids(first)
    _save(path, first)
    before = path.read_bytes()
    _ids(first, PROMPT[::-1])
    monkeypatch.setattr(first.store, "read_block", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        _save(path, first)
    assert path.read_bytes() == before and [*tmp_path.iterdir()] == [path]


def _interrupt(number: int, block: int) -> bytes:
    raise KeyboardInterrupt
