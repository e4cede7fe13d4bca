"""Activations: the rows of the paper for GPT-3, and what autograd really keeps of a Llama layer."""

from typing import Any

import pytest
from msgspec.structs import replace

from llmkit.errors import ConfigError
from llmkit.estimate.activations import (
    ActivationSettings,
    embedding_activation_bytes,
    layer_activation_bytes,
    output_activation_bytes,
    prefill_activation_bytes,
)
from llmkit.estimate.architecture import Architecture, LayerCache, TensorSpec

PAPER = ActivationSettings(seq_len=2048, dropout=True, recompute="none")


@pytest.mark.parametrize(
    ("settings", "all_layers"),
    [
        ({}, 275_414_777_856),
        ({"tensor_parallel": 8}, 55_566_139_392),
        ({"tensor_parallel": 8, "sequence_parallel": True}, 34_426_847_232),
        ({"tensor_parallel": 8, "sequence_parallel": True, "recompute": "selective"}, 10_267_656_192),
        ({"recompute": "full"}, 4_831_838_208),
    ],
)
def test_gpt_3_keeps_what_the_paper_says(
    gpt_3: Architecture, settings: dict[str, Any], all_layers: int
) -> None:
    kept = [layer_activation_bytes(gpt_3, layer, replace(PAPER, **settings)) for layer in (0, 95)]
    assert [96 * one for one in kept] == [all_layers, all_layers]


def test_a_layer_of_gpt_3_keeps_34_sbh_and_5_as_bs(gpt_3: Architecture) -> None:
    s, b, h, a = 2048, 3, 12_288, 96
    kept = layer_activation_bytes(gpt_3, 0, replace(PAPER, micro_batch=b))
    assert kept == s * b * h * 34 + 5 * a * s * s * b


def test_a_gated_layer_keeps_gate_up_and_their_product(llama_3_8b: Architecture) -> None:
    # 2 bytes of: two norms' inputs and outputs, q and the answer (h), k and v (h/4 each), three of ffn
    settings = ActivationSettings(seq_len=100)
    assert layer_activation_bytes(llama_3_8b, 0, settings) == 100 * 2 * (
        4 * 4096 + 2 * 4096 + 2 * 1024 + 3 * 14_336
    )


def test_autograd_keeps_what_is_predicted_of_a_llama_layer_and_silu() -> None:
    import torch
    from torch.nn import functional as F

    T, D, H, K, E, M = 16, 32, 4, 2, 8, 48
    shapes = {"q_proj": (H * E, D), "k_proj": (K * E, D), "v_proj": (K * E, D), "o_proj": (D, H * E)}
    shapes |= {"gate_proj": (M, D), "up_proj": (M, D), "down_proj": (D, M)}
    weights = {name: torch.randn(shape, requires_grad=True) for name, shape in shapes.items()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        alive.append(tensor)
        return tensor

    alive: list[torch.Tensor] = []  # or else an address is used twice
    x = torch.randn(1, T, D, requires_grad=True)
    gain = [torch.ones(D, requires_grad=True) for _ in range(2)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        normed = F.layer_norm(x, (D,), gain[0])
        q, k, v = (
            F.linear(normed, weights[f"{name}_proj"]).view(1, T, -1, E).transpose(1, 2) for name in "qkv"
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + F.linear(mixed.transpose(1, 2).reshape(1, T, -1), weights["o_proj"])
        normed = F.layer_norm(x, (D,), gain[1])
        gate, up = F.linear(normed, weights["gate_proj"]), F.linear(normed, weights["up_proj"])
        x = x + F.linear(F.silu(gate) * up, weights["down_proj"])

    for weight in (*weights.values(), *gain):  # no activations
        kept.pop(weight.data_ptr(), None)
    part = {name: "attention" if name[0] in "qkvo" else "mlp" for name in shapes}
    tensors = [
        TensorSpec(name=name, shape=shape, part=part[name], module=name, linear=True, layer=0)  # type: ignore[arg-type]
        for name, shape in shapes.items()
    ]
    norms = [TensorSpec(name=f"{n}.weight", shape=(D,), part="norms", module="norm", layer=0) for n in "ab"]
    predicted = layer_activation_bytes(
        _model(D, H, (*tensors, *norms)), 0, ActivationSettings(seq_len=T), bytes_per_value=4
    )
    silu = 4 * T * M  # fused kernels make it again
    statistics = 4 * T * (2 * 2 + H)  # mean and deviation of a norm's rows, a number of each head's softmax
    assert sum(kept.values()) == predicted + silu + statistics


def test_a_token_of_k_experts_is_kept_k_times() -> None:
    D, M, E, k = 8, 6, 16, 3

    def stack(module: str, out: int, into: int) -> TensorSpec:
        return TensorSpec(
            name=f"experts.*.{module}.weight",
            shape=(out, into),
            part="experts",
            module=module,
            linear=True,
            layer=0,
            copies=E,
            active=k / E,
        )

    experts = (stack("gate_proj", M, D), stack("up_proj", M, D), stack("down_proj", D, M))
    kept = layer_activation_bytes(_model(D, 2, experts), 0, ActivationSettings(seq_len=10))
    norms, router_input = 2 * D, D
    assert kept == 10 * 2 * (norms + router_input + k * (2 * D + 3 * M))


def test_scores_need_to_know_which_layers_have_them(gpt_3: Architecture) -> None:
    with pytest.raises(ConfigError, match="96 layers have scores"):
        layer_activation_bytes(replace(gpt_3, caches=gpt_3.caches[:7]), 0, PAPER)


def test_float32_takes_twice_as_much_but_for_masks(gpt_3: Architecture) -> None:
    settings = ActivationSettings(seq_len=10)
    assert layer_activation_bytes(gpt_3, 0, settings, bytes_per_value=4) == 2 * layer_activation_bytes(
        gpt_3, 0, settings
    )
    masked = replace(settings, dropout=True)
    masks = layer_activation_bytes(gpt_3, 0, masked) - layer_activation_bytes(gpt_3, 0, settings)
    assert masks == 10 * 2 * 12_288
    assert layer_activation_bytes(gpt_3, 0, masked, bytes_per_value=4) == masks + layer_activation_bytes(
        gpt_3, 0, settings, bytes_per_value=4
    )


def test_embeddings_and_output_are_the_extras_of_megatron(gpt_3: Architecture) -> None:
    s, b, h, v = 2048, 2, 12_288, 51_200
    settings = replace(PAPER, micro_batch=b)
    assert embedding_activation_bytes(gpt_3, settings) == 8 * s * b + s * b * h
    assert output_activation_bytes(gpt_3, settings) == 4 * s * b * h + 4 * s * b * v
    assert embedding_activation_bytes(gpt_3, replace(settings, dropout=False)) == 8 * s * b


def test_logits_are_split_and_norms_only_with_the_sequence(gpt_3: Architecture) -> None:
    s, h, v = 2048, 12_288, 51_200
    split = replace(PAPER, tensor_parallel=8)
    assert output_activation_bytes(gpt_3, split) == 4 * s * h + 4 * s * v // 8
    assert (
        output_activation_bytes(gpt_3, replace(split, sequence_parallel=True)) == (4 * s * h + 4 * s * v) // 8
    )


def test_a_prefill_takes_its_stream_the_widest_activation_and_logits(
    llama_3_8b: Architecture, gpt_3: Architecture
) -> None:
    # gate and up are wider than q, k and v: 28,672 numbers beside 2 x 4,096
    assert prefill_activation_bytes(llama_3_8b, chunk_tokens=512) == 512 * 2 * (8192 + 28_672) + 4 * 128_256
    assert prefill_activation_bytes(llama_3_8b, chunk_tokens=512, sampled_rows=0) == 512 * 2 * (8192 + 28_672)
    narrow = replace(gpt_3, mlp_width=12_288)
    assert prefill_activation_bytes(narrow, chunk_tokens=1, sampled_rows=0) == 2 * (2 + 3) * 12_288


@pytest.mark.parametrize("wrong", [{"seq_len": 0}, {"micro_batch": 0}, {"recompute": "some"}])
def test_settings_out_of_range_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ActivationSettings(**{"seq_len": 1, **wrong})


def test_a_layer_that_is_not_there_is_an_error(gpt_3: Architecture) -> None:
    with pytest.raises(ConfigError, match="no layer 96"):
        layer_activation_bytes(gpt_3, 96, PAPER)
    with pytest.raises(ConfigError, match="chunk_tokens"):
        prefill_activation_bytes(gpt_3, chunk_tokens=0)


def _model(hidden: int, heads: int, tensors: tuple[TensorSpec, ...]) -> Architecture:
    return Architecture(
        model_type="llama",
        hidden_size=hidden,
        vocab_size=10,
        num_hidden_layers=1,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=hidden // heads,
        max_position_embeddings=None,
        tied_head=False,
        dtype="float32",
        tensors=tensors,
        caches=(LayerCache(kind="full", query_heads=heads),),
        mlp_width=1,
    )
