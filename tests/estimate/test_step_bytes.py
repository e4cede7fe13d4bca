"""What a step reads: Llama-3-8B's weights by hand, experts by counting choices, caches as they reach."""

import pytest
from msgspec.structs import replace

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture, LayerCache, TensorSpec
from llmkit.estimate.cache_settings import CacheSettings
from llmkit.estimate.step_bytes import bytes_of_part, cache_bytes_read, weight_bytes_read
from tests.estimate.cached import LLAMA_3_8B_LAYER as FULL
from tests.estimate.cached import with_caches


def test_a_step_reads_all_weights_but_the_embeddings_of_other_tokens(llama_3_8b: Architecture) -> None:
    assert weight_bytes_read(llama_3_8b, batch=1) == 15_009_857_536
    assert weight_bytes_read(llama_3_8b, batch=1) == 2 * (7_504_658_432 + 65 * 4096 + 4096)  # norms; one row
    assert weight_bytes_read(llama_3_8b, batch=3) - weight_bytes_read(llama_3_8b, batch=1) == 2 * 2 * 4096
    assert weight_bytes_read(llama_3_8b, batch=10**9) == 2 * llama_3_8b.parameters


def test_a_tied_table_is_read_for_the_head_all_the_same(llama_3_8b: Architecture) -> None:
    tied = replace(llama_3_8b, tied_head=True, tensors=llama_3_8b.tensors[:-1])
    assert weight_bytes_read(tied, batch=1) == weight_bytes_read(llama_3_8b, batch=1)


def test_of_experts_a_batch_reads_those_that_it_is_expected_to_choose(llama_3_8b: Architecture) -> None:
    experts = TensorSpec(
        name="up", shape=(8, 100, 10), part="experts", module="up_proj", linear=True, active=2 / 8
    )
    model = replace(llama_3_8b, tensors=(experts,))
    assert weight_bytes_read(model, batch=1) == 2 * 2 * 1000
    # all the ways in which two tokens choose 2 of 8: 28 x 28 pairs, counted by hand on paper
    choices = [{a, b} for a in range(8) for b in range(a)]
    expected = sum(len(one | other) for one in choices for other in choices) / len(choices) ** 2
    assert weight_bytes_read(model, batch=2) == round(2 * 1000 * expected)
    assert weight_bytes_read(model, batch=1000) == 2 * 8000


def test_parts_stored_in_their_own_ways_are_read_so(llama_3_8b: Architecture) -> None:
    numbers = llama_3_8b.by_part
    part_bytes = {part: 2.0 * count for part, count in numbers.items()}
    part_bytes |= {"attention": numbers["attention"] / 2, "mlp": numbers["mlp"] / 2}  # 4 bits
    read = weight_bytes_read(llama_3_8b, batch=1, part_bytes=part_bytes)
    matrices, head = 6_979_321_856, 128_256 * 4096
    assert read == matrices // 2 + 2 * (head + 65 * 4096 + 4096)


def test_a_part_without_its_bytes_is_named(llama_3_8b: Architecture) -> None:
    assert bytes_of_part("mlp", {"norms": 3, "mlp": 5}) == 5
    with pytest.raises(ConfigError, match=r"part_bytes has nothing for mlp \(found: norms, head\)"):
        bytes_of_part("mlp", {"norms": 3, "head": 5})
    with pytest.raises(ConfigError, match="part_bytes has nothing for norms"):
        weight_bytes_read(llama_3_8b, batch=1, part_bytes={"embeddings": 1, "attention": 1, "mlp": 1})


def test_a_token_reads_the_cache_as_far_as_each_layer_reaches(llama_3_8b: Architecture) -> None:
    assert cache_bytes_read(llama_3_8b, CacheSettings(), 8192) == 8192 * 131_072
    mixed = with_caches(llama_3_8b, FULL, replace(FULL, kind="sliding", window=512))
    for settings in (CacheSettings(), CacheSettings(window_is_full=True), CacheSettings(block_size=16)):
        assert cache_bytes_read(mixed, settings, 1001) == (1001 + 512) * 2 * 2 * 8 * 128


def test_a_state_is_read_and_written_whatever_the_length(llama_3_8b: Architecture) -> None:
    model = with_caches(llama_3_8b, LayerCache(kind="state", recurrent=1000, conv=10))
    for context in (1, 10**6):
        assert cache_bytes_read(model, CacheSettings(), context) == 2 * (4 * 1000 + 2 * 10)
