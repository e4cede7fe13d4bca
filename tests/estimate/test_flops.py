"""Floating-point operations: by hand, and as torch counts them while a model runs."""

import pytest

from llmkit.estimate.flops import forward_flops_per_token, matmul_parameters, train_flops_per_token
from llmkit.model.config import ModelConfig
from llmkit.model.presets import PRESETS

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
MODELS = [SMALL, PRESETS["tiny"], PRESETS["nanogpt-cpu"]]
LLAMA_3_8B = ModelConfig(
    vocab_size=128_256,
    hidden_size=4096,
    intermediate_size=14_336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
)


def test_a_small_config_takes_what_was_worked_out_by_hand() -> None:
    # q and o 6 x 32, k and v 6 x 16, gate, up and down 6 x 7, the tied head 10 x 6; no biases, no embedding
    matmul = 3 * (2 * 6 * 32 + 2 * 6 * 16 + 3 * 6 * 7) + 60
    assert matmul_parameters(SMALL) == matmul == 2166
    # scores and values: each 2 operations x 4 heads x 8 x 5 positions, in 3 layers
    assert forward_flops_per_token(SMALL, 5) == 2 * 2166 + 3 * 2 * (2 * 4 * 8 * 5) == 6252
    assert train_flops_per_token(SMALL, 5) == 6 * 2166 + 12 * 3 * 4 * 8 * 5 == 3 * 6252


def test_llama_3_8b_takes_15_gigaflops_a_token_without_attention() -> None:
    assert matmul_parameters(LLAMA_3_8B) == 7_504_658_432
    assert forward_flops_per_token(LLAMA_3_8B, 0) == 15_009_316_864
    assert forward_flops_per_token(LLAMA_3_8B, 8192) == 15_009_316_864 + 4_294_967_296


def test_a_prefill_is_its_tokens_at_their_mean_context() -> None:
    one_by_one = sum(forward_flops_per_token(LLAMA_3_8B, position + 1) for position in range(8192))
    assert one_by_one == 140_550_657_277_952
    at_the_mean = forward_flops_per_token(LLAMA_3_8B, 0) + forward_flops_per_token(LLAMA_3_8B, 8193)
    assert one_by_one == 8192 * at_the_mean // 2


def _counted_by_torch(config: ModelConfig, *, backward: bool) -> int:
    """What two rows of 64 tokens take; attention by plain matrix products, which torch can count."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from llmkit.model.transformer import Transformer

    model = Transformer(config)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        scores = model(torch.zeros(2, 64, dtype=torch.long))
        if backward:
            scores.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("config", MODELS, ids=lambda config: config.model_type)
def test_a_forward_pass_takes_what_torch_counts(config: ModelConfig) -> None:
    counted = _counted_by_torch(config, backward=False)
    assert counted == 2 * 64 * forward_flops_per_token(config, 64)


@pytest.mark.parametrize("config", MODELS, ids=lambda config: config.model_type)
def test_training_takes_what_torch_counts(config: ModelConfig) -> None:
    counted = _counted_by_torch(config, backward=True)
    assert counted == 2 * 64 * train_flops_per_token(config, 64)
