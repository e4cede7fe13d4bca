"""Host memory behind the pool: the same bits back, within its room, and texts as if the pool were large."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmkit.engine.block_store import BlockKind
from llmkit.engine.blocks import Block, BlockPool, Kept
from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.offload import HostMemory
from llmkit.engine.request import Request
from llmkit.engine.store import KVStore
from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig, LatentConfig
from llmkit.model.transformer import Transformer

CONFIG = ModelConfig(
    vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, max_position_embeddings=64,
)  # fmt: skip
BLOCK_BYTES = 2 * 2 * 4 * 4 * 3
"""Two layers of keys and values, head_dim 4, float32, 3 positions a block."""


class Store(KVStore):
    """Six blocks of three positions, in which each value tells its place."""

    def __init__(self) -> None:
        super().__init__(CONFIG, 6, 3)
        for number, tensor in enumerate(self.by_block):
            for block in range(6):
                tensor[block] = 100 * number + block


def _values(store: KVStore, block: int) -> list[list[float]]:
    return [tensor[block].flatten().unique().tolist() for tensor in store.by_block]


def _put(host: HostMemory, block: int, key: bytes) -> None:
    host.keep(Block(block, key=key, content=b"of " + key))


def _get(host: HostMemory, key: bytes, block: int) -> Kept:
    kept = host.find(key)
    assert kept is not None
    kept.write(block)
    return kept


def test_what_was_kept_comes_back_bit_for_bit_into_any_block_of_every_layer() -> None:
    store = Store()
    host = HostMemory(store, 4 * BLOCK_BYTES)
    assert (host.num_blocks, host.nbytes) == (4, 4 * BLOCK_BYTES)
    _put(host, 2, b"two")
    for tensor in store.by_block:
        tensor[2] = -1.0
    assert _get(host, b"two", 5).content == b"of two"
    assert _values(store, 5) == [[2.0], [102.0], [202.0], [302.0]]
    assert _values(store, 4) == [[4.0], [104.0], [204.0], [304.0]]  # and no other is touched
    assert host.find(b"two") is None and (host.kept, host.restored) == (1, 1)
    host.check(())


class Odd:
    """A store of three tensors a layer, one of them with one number a position; six blocks of three."""

    block_tokens = 3

    def __init__(self) -> None:
        kinds = [("int8", (4,)), ("float16", ()), ("bfloat16", ())]
        self.kinds = [
            BlockKind(layer, number, *kind) for layer in (0, 1) for number, kind in enumerate(kinds)
        ]
        draw = np.random.default_rng(0)
        self.bytes = [draw.integers(0, 256, (6, 3 * kind.position_bytes), np.uint8) for kind in self.kinds]
        self.nbytes = sum(one.nbytes for one in self.bytes)

    def read_block(self, number: int, block: int) -> NDArray[np.uint8]:
        return self.bytes[number][block]

    def write_block(self, number: int, block: int, content: NDArray[np.uint8]) -> None:
        self.bytes[number][block] = content


def test_tensors_of_any_number_and_dtype_are_kept_also_one_number_a_position() -> None:
    store = Odd()
    expected = [one[1].copy() for one in store.bytes]
    host = HostMemory(store, 3 * store.nbytes // 6)
    assert host.num_blocks == 3
    _put(host, 1, b"one")
    _get(host, b"one", 4)
    assert all(np.array_equal(one[4], other) for one, other in zip(store.bytes, expected, strict=True))


def test_where_room_runs_out_what_came_first_goes_and_the_bytes_are_never_exceeded() -> None:
    host = HostMemory(Store(), 3 * BLOCK_BYTES + BLOCK_BYTES - 1)
    for block, key in enumerate((b"a", b"b", b"c", b"d")):
        _put(host, block, key)
        host.check(())
    assert host.nbytes <= 3 * BLOCK_BYTES + BLOCK_BYTES - 1 and host.dropped == 1
    assert [key for key, _, _ in host.contents()] == [b"b", b"c", b"d"]
    host.forget(b"c")
    host.forget(b"never here")
    _put(host, 5, b"e")
    assert [key for key, _, _ in host.contents()] == [b"b", b"d", b"e"] and host.dropped == 1
    host.clear()
    host.check(())
    assert not [*host.contents()]


def test_less_than_a_block_is_refused_with_the_size_of_one() -> None:
    with pytest.raises(ConfigError, match=f"191 bytes .* less than one block .found {BLOCK_BYTES} bytes"):
        HostMemory(Store(), BLOCK_BYTES - 1)


def test_a_pool_finds_again_what_it_gave_up_and_each_content_is_in_one_place() -> None:
    store = Store()
    host = HostMemory(store, 3 * BLOCK_BYTES)
    pool = BlockPool(2, [host])
    for number in range(4):
        block = pool.take()
        assert block is not None
        for tensor in store.by_block:
            tensor[block.index] = 10.0 + number
        pool.remember(block, bytes([number]), b"content %d" % number)
        pool.give_back([block])
        pool.check()
    assert host.kept == 2  # 0 and 1; the pool has 2 and 3
    found = pool.find(b"\0")
    assert found is not None and found.content == b"content 0" and found.holders == 1
    assert _values(store, found.index) == [[10.0]] * 4
    assert host.kept == 3  # 2 went for it
    pool.check()
    also = pool.find(b"\1")
    assert also is not None and pool.find(b"\2") is None  # no block is free
    assert pool.find(b"\0") is found and found.holders == 2
    pool.give_back([also])
    assert pool.find(b"\2") is also and _values(store, also.index) == [[12.0]] * 4
    pool.check()


def test_what_the_pool_computes_anew_is_no_longer_kept_here() -> None:
    host = HostMemory(Store(), 2 * BLOCK_BYTES)
    pool = BlockPool(2, [host])
    _put(host, 0, b"x")
    block = pool.take()
    assert block is not None
    pool.remember(block, b"x")
    assert not [*host.contents()]
    pool.check()
    pool.clear()
    pool.check()


def test_room_for_one_block_is_enough_to_change_places() -> None:
    store = Store()
    host = HostMemory(store, BLOCK_BYTES)
    pool = BlockPool(1, [host])
    for key in (b"a", b"b"):
        block = pool.take()
        assert block is not None
        store.by_block[0][0] = float(key[0])
        pool.remember(block, key)
        pool.give_back([block])
    found = pool.find(b"a")
    assert found is not None and _values(store, 0)[0] == [97.0]
    pool.give_back([found])
    assert pool.find(b"b") is None  # it had nowhere to go
    pool.check()


def test_a_block_whose_content_cannot_come_back_is_free_again() -> None:
    class Broken(HostMemory):
        def find(self, key: bytes) -> Kept | None:
            def fail(block: int) -> None:
                raise OSError("gone")

            return Kept(b"", fail)

    pool = BlockPool(2, [Broken(Store(), BLOCK_BYTES)])
    with pytest.raises(OSError, match="gone"):
        pool.find(b"x")
    pool.check()
    assert pool.num_free == 2


def _ids(engine: Engine, prompt: list[int], **settings: Any) -> list[int]:
    request = Request(tuple(prompt), SamplingConfig(temperature=0.0, ignore_eos=True, **settings))
    return [drawn.id for drawn in engine.run(request)]


@pytest.mark.parametrize("kind", ["plain", "latent"])
def test_prompts_that_the_pool_has_no_room_for_are_read_once_and_their_texts_are_the_same(
    kind: str, make_model: Callable[..., Transformer]
) -> None:
    latent = LatentConfig(kv_lora_rank=6, q_lora_rank=5, qk_nope_head_dim=5, qk_rope_head_dim=4, v_head_dim=4)
    experts = ExpertsConfig(
        num_experts=4, num_experts_per_tok=2, intermediate_size=8, layers=(1, 2), scoring="sigmoid",
        norm_topk_prob=True, num_groups=2, topk_groups=1, group_score="best_two", selection_bias=True,
        shared_intermediate_size=8,
    )  # fmt: skip
    fields = {"model_type": "deepseek_v3", "rope_interleaved": True, "rotary_dim": 4, "head_dim": 9}
    fields |= {"latent": latent, "experts": experts, "attention_scale": 1 / 3}
    model = make_model(**(fields if kind == "latent" else {}))
    pick = random.Random(0)
    prompts = [[pick.randrange(40) for _ in range(30)] for _ in range(4)]
    sizes = {"block_tokens": 4, "max_texts": 1, "positions": 40}  # one text fills the pool
    plain = Engine(model, EngineConfig(**sizes))
    expected = [_ids(plain, prompt, max_tokens=9) for prompt in prompts] * 2
    [_ids(plain, prompt, max_tokens=9) for prompt in prompts]
    engine = Engine(model, EngineConfig(**sizes, offload_bytes=10 * plain.store.nbytes))
    assert [_ids(engine, prompt, max_tokens=9) for prompt in prompts * 2] == expected
    assert plain.counts.cached_tokens == 0
    assert engine.counts.cached_tokens == 4 * 28  # all but the last block of each, the second time
    assert engine.counts.restored_blocks == 4 * 7 and engine.counts.offloaded_blocks >= 4 * 7
    assert plain.counts.computed_tokens - engine.counts.computed_tokens == 4 * 28
    engine.pool.check()


def test_without_host_memory_nothing_is_copied(make_model: Callable[..., Transformer]) -> None:
    engine = Engine(make_model(), EngineConfig(positions=16))
    _ids(engine, [1] * 10, max_tokens=4), _ids(engine, [2] * 10, max_tokens=4)
    assert engine.host is None and engine.counts.offloaded_blocks == 0
