"""What a case must do: by hand, and as torch counts it."""

from dataclasses import replace

import pytest

from llmkit.model.config import ModelConfig
from llmkit.model.presets import PRESETS
from llmkit.probe.work import decode_work, prefill_work, train_work

SMALL = ModelConfig(
    vocab_size=10,
    hidden_size=6,
    intermediate_size=7,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
)
LAYERS = 3 * (2 * 6 * 32 + 2 * 6 * 16 + 3 * 6 * 7)  # q and o, k and v, gate, up and down
HEAD = 10 * 6
A_POSITION = 3 * 4 * 4 * 8  # scores and values of 4 heads of 8, in 3 layers


def test_a_prefill_scores_its_last_position_only() -> None:
    work = prefill_work(SMALL, prompt=3, depth=5)
    assert work.flops == 2 * (3 * LAYERS + HEAD) + (6 + 7 + 8) * A_POSITION
    assert (work.tokens, work.bytes_moved) == (3, None)


def test_a_decode_reads_the_weights_once_a_token_and_the_cache_so_far() -> None:
    work = decode_work(SMALL, tokens=3, depth=5, weight_bytes=1000, dtype="bfloat16")
    assert work.flops == 3 * 2 * (LAYERS + HEAD) + (6 + 7 + 8) * A_POSITION
    assert work.bytes_moved == 3 * 1000 + (6 + 7 + 8) * (2 * 3 * 2 * 8 * 2)  # K and V, 3 layers, 2 heads of 8


def test_a_sliding_layer_reads_its_window_and_a_latent_one_its_latents() -> None:
    sliding = replace(SMALL, model_type="mistral", sliding_window=6, sliding_layers=(0, 1, 2))
    work = decode_work(sliding, tokens=3, depth=5, weight_bytes=1000, dtype="float32")
    assert work.bytes_moved == 3 * 1000 + (6 + 6 + 6) * (2 * 3 * 2 * 8 * 4)
    assert work.flops == 3 * 2 * (LAYERS + HEAD) + (6 + 6 + 6) * A_POSITION
    assert prefill_work(sliding, prompt=3, depth=5).flops == 2 * (3 * LAYERS + HEAD) + 18 * A_POSITION


def test_a_token_is_multiplied_with_its_experts_alone() -> None:
    config = PRESETS["tiny-moe"]
    experts = config.experts
    assert experts is not None and len(experts.layers) == config.num_hidden_layers
    D, E = config.hidden_size, config.head_dim
    attention = 2 * D * E * (config.num_attention_heads + config.num_key_value_heads)
    used = experts.num_experts_per_tok * 3 * D * experts.intermediate_size
    layer = attention + D * experts.num_experts + used
    linear = config.num_hidden_layers * layer + config.vocab_size * D
    scores = config.num_hidden_layers * 4 * config.num_attention_heads * E * 7
    assert train_work(config, batch_rows=2, seq_len=7).flops == 14 * 3 * (2 * linear + scores)


def test_an_update_is_three_forward_passes_of_whole_rows() -> None:
    work = train_work(SMALL, batch_rows=2, seq_len=5)
    assert work.flops == 10 * 3 * (2 * (LAYERS + HEAD) + 5 * A_POSITION)
    assert (work.tokens, work.bytes_moved) == (10, None)


@pytest.mark.parametrize("depth", [0, 4])
def test_torch_counts_no_fewer_than_a_prefill_is_said_to_take(depth: int) -> None:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from llmkit.model.transformer import Transformer
    from llmkit.workflows.bench.prefill import Prefill

    run = Prefill(Transformer(SMALL).eval(), torch.arange(8 + depth) % 10, depth)
    run()  # what comes before is in the cache
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        run()
    masked = sum(8 + depth - seen for seen in range(depth + 1, depth + 9)) * A_POSITION  # computed in vain
    assert counter.get_total_flops() == prefill_work(SMALL, prompt=8, depth=depth).flops + masked
