"""Operations of an architecture: Llama-3-8B's by hand, and a prompt as its tokens one after the other."""

from typing import Any

import pytest
from msgspec.structs import replace

from llmkit.estimate.architecture import Architecture, LayerCache, TensorSpec
from llmkit.estimate.architecture_flops import decode_flops, prefill_flops, train_flops_per_token
from llmkit.estimate.architecture_of import architecture_of
from llmkit.model.config import ModelConfig
from llmkit.model.presets import PRESETS
from tests.estimate.cached import LLAMA_3_8B_LAYER as FULL
from tests.estimate.cached import with_caches


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


SMALL = ModelConfig(
    vocab_size=10,
    hidden_size=6,
    intermediate_size=7,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    attention_bias=True,
    output_bias=True,
    tie_word_embeddings=True,
)
MODELS = {"small": SMALL, **{name: PRESETS[name] for name in ("tiny", "nanogpt-cpu", "tiny-moe")}}


def test_a_small_config_takes_what_was_worked_out_by_hand() -> None:
    # q and o 6 x 32, k and v 6 x 16, gate, up and down 6 x 7, the tied head 10 x 6; no biases, no embedding
    matmul = 3 * (2 * 6 * 32 + 2 * 6 * 16 + 3 * 6 * 7) + 60
    small = architecture_of(SMALL)
    assert small.matmul_parameters == matmul == 2166
    # scores and values: each 2 operations x 4 heads x 8 x 5 positions, in 3 layers
    assert decode_flops(small, 5) == 2 * 2166 + 3 * 2 * (2 * 4 * 8 * 5) == 6252
    assert train_flops_per_token(small, 5) == 6 * 2166 + 12 * 3 * 4 * 8 * 5 == 3 * 6252


def test_a_prompt_goes_on_where_the_one_before_it_ended(llama_3_8b: Architecture) -> None:
    sliding = with_caches(llama_3_8b, FULL, replace(FULL, kind="sliding", window=7))
    for model in (llama_3_8b, sliding):
        for depth, tokens in ((0, 5), (3, 2), (6, 9), (100, 1)):
            rest = prefill_flops(model, tokens, depth=depth)
            assert prefill_flops(model, depth) + rest == prefill_flops(model, depth + tokens)


def test_training_is_charged_for_a_row_as_far_as_a_layer_sees(llama_3_8b: Architecture) -> None:
    windowed = with_caches(llama_3_8b, replace(FULL, kind="sliding", window=7))
    assert train_flops_per_token(windowed, 5) == train_flops_per_token(with_caches(llama_3_8b, FULL), 5)
    assert train_flops_per_token(windowed, 100) == train_flops_per_token(windowed, 7)


def of_experts() -> dict[Any, Any]:
    """What torch does not know: each row is multiplied with one matrix, and in gradients of those as well."""
    import torch

    def linear(rows: Any, weight: Any, *_: Any, **__: Any) -> int:
        return 2 * rows[0] * weight[1] * weight[2]

    def outer(left: Any, right: Any, *_: Any, **__: Any) -> int:
        return 2 * left[0] * left[1] * right[1]

    return {torch.ops.llmkit.grouped_linear: linear, torch.ops.llmkit.grouped_outer: outer}


def counted_by_torch(config: ModelConfig, *, backward: bool) -> int:
    """What two rows of 64 tokens take; attention by plain matrix products, which torch can count."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from llmkit.model.transformer import Transformer

    model = Transformer(config)
    with (
        pytest.MonkeyPatch.context() as patched,
        FlopCounterMode(display=False, custom_mapping=of_experts()) as counter,
        sdpa_kernel(SDPBackend.MATH),
    ):
        patched.setattr("llmkit.model.attention.learns_here", lambda *_: False)
        scores = model(torch.zeros(2, 64, dtype=torch.long))
        if backward:
            scores.sum().backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("name", MODELS)
def test_a_forward_pass_takes_what_torch_counts(name: str) -> None:
    counted = counted_by_torch(MODELS[name], backward=False)
    assert counted == 2 * 64 * decode_flops(architecture_of(MODELS[name]), 64)


@pytest.mark.parametrize("name", MODELS)
def test_training_takes_what_torch_counts(name: str) -> None:
    counted = counted_by_torch(MODELS[name], backward=True)
    assert counted == 2 * 64 * train_flops_per_token(architecture_of(MODELS[name]), 64)
