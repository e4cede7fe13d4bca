"""Operations of an architecture: Llama-3-8B's by hand, and a prompt as its tokens one after the other."""

from dataclasses import replace

import pytest

from llmkit.estimate.architecture import Architecture, LayerCache, TensorSpec
from llmkit.estimate.architecture_flops import decode_flops, prefill_flops

FULL = LayerCache(
    kind="full", kv_heads=8, key_dim=128, value_dim=128, query_heads=32, score_dim=128, mixed_dim=128
)


def with_caches(model: Architecture, *caches: LayerCache) -> Architecture:
    return replace(model, caches=caches)


def test_a_token_takes_15_gigaflops_and_4_more_at_8192(llama_3_8b: Architecture) -> None:
    assert decode_flops(replace(llama_3_8b, caches=()), 8192) == 15_009_316_864
    assert decode_flops(llama_3_8b, 8192) == 15_009_316_864 + 4_294_967_296


def test_a_prefill_of_8192_takes_140_teraflops_one_token_after_the_other(llama_3_8b: Architecture) -> None:
    assert prefill_flops(llama_3_8b, 8192) == 140_550_657_277_952
    assert prefill_flops(llama_3_8b, 100) == sum(
        decode_flops(llama_3_8b, position + 1) for position in range(100)
    )


@pytest.mark.parametrize(
    ("cache", "looked_at"),
    [
        (replace(FULL, kind="sliding", window=7), lambda position: min(position + 1, 7)),
        (replace(FULL, kind="chunked", window=7), lambda position: position % 7 + 1),
        (replace(FULL, kind="cross", window=7), lambda position: 7),
    ],
)
@pytest.mark.parametrize("tokens", [1, 6, 7, 8, 21, 23])
def test_a_window_saves_what_is_outside_of_it(
    llama_3_8b: Architecture, cache: LayerCache, looked_at, tokens: int
) -> None:
    pairs = sum(looked_at(position) for position in range(tokens))
    attention = prefill_flops(with_caches(llama_3_8b, cache), tokens) - prefill_flops(
        replace(llama_3_8b, caches=()), tokens
    )
    assert attention == pairs * 32 * (2 * 128 + 2 * 128)


def test_latents_are_attended_to_in_decoding_and_expanded_over_a_prompt(llama_3_8b: Architecture) -> None:
    # DeepSeek-V3: 128 heads, keys of 128 + 64, values of 128, a latent of 512 + 64
    latent = LayerCache(kind="latent", latent=576, query_heads=128, score_dim=576, mixed_dim=512)
    output = TensorSpec(name="o", shape=(7168, 128 * 128), part="attention", module="o_proj", linear=True)
    bare = replace(llama_3_8b, tensors=(output,), head_dim=192, caches=())
    model = with_caches(bare, latent)
    assert decode_flops(model, 100) - decode_flops(bare, 100) == 2 * 128 * (576 + 512) * 100
    assert prefill_flops(model, 100) - prefill_flops(bare, 100) == 2 * 128 * (192 + 128) * 5050


def test_a_state_costs_the_same_at_any_length(llama_3_8b: Architecture) -> None:
    state = LayerCache(kind="state", recurrent=1000, conv=10)
    assert decode_flops(with_caches(llama_3_8b, state), 10) == decode_flops(
        with_caches(llama_3_8b, state), 10**6
    )
    assert prefill_flops(with_caches(llama_3_8b, state), 10) == 10 * decode_flops(
        with_caches(llama_3_8b, state), 1
    )
