"""Matrices of a tensor: copies, stacks, and the two ways round that families store them."""

import pytest

from llmkit.estimate.architecture import Architecture, TensorSpec
from llmkit.estimate.matrices import matrices_of, num_experts
from llmkit.estimate.read_architecture import read_architecture

GPT2 = {
    "model_type": "gpt2",
    "n_embd": 768,
    "n_layer": 2,
    "n_head": 12,
    "vocab_size": 50257,
    "n_positions": 1024,
}
MIXTRAL = {
    **{"model_type": "mixtral", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 8, "num_experts_per_tok": 2},
    **{"vocab_size": 100, "tie_word_embeddings": False},
}
LLAMA_4 = {
    **{"model_type": "llama4_text", "hidden_size": 64, "intermediate_size": 96, "intermediate_size_mlp": 128},
    **{"num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16},
    **{"num_local_experts": 16, "num_experts_per_tok": 1, "interleave_moe_layer_step": 1, "vocab_size": 100},
    "tie_word_embeddings": False,
}


def found(architecture: Architecture) -> dict[str, tuple[int, int, int]]:
    """(copies, outputs, inputs) of the first layer's matrices, by module."""
    return {
        tensor.module: tuple(matrices_of(tensor, architecture))
        for tensor in architecture.tensors
        if tensor.linear and tensor.layer == 0
    }


def test_gpt_2_stores_inputs_first() -> None:
    assert found(read_architecture(GPT2)) == {
        "qkv_proj": (1, 2304, 768),
        "o_proj": (1, 768, 768),
        "up_proj": (1, 3072, 768),
        "down_proj": (1, 768, 3072),
    }


def test_experts_of_their_own_tensors_are_copies() -> None:
    matrices = found(read_architecture(MIXTRAL))
    assert matrices["gate_proj"] == matrices["up_proj"] == (8, 96, 64)
    assert matrices["down_proj"] == (8, 64, 96)
    assert matrices["k_proj"] == (1, 32, 64)


def test_stacked_experts_are_matrices_with_inputs_first() -> None:
    architecture = read_architecture(LLAMA_4)
    stacked = [tensor for tensor in architecture.tensors if len(tensor.shape) == 3]
    assert {tensor.module: tuple(matrices_of(tensor, architecture)) for tensor in stacked} == {
        "gate_up_proj": (16, 192, 64),
        "down_proj": (16, 64, 96),
    }


@pytest.mark.parametrize(("config", "experts"), [(GPT2, 0), (MIXTRAL, 8), (LLAMA_4, 16)])
def test_experts_are_counted(config: dict[str, object], experts: int) -> None:
    assert num_experts(read_architecture(config)) == experts


def test_every_number_is_in_a_matrix() -> None:
    for config in (GPT2, MIXTRAL, LLAMA_4):
        architecture = read_architecture(config)
        for tensor in architecture.tensors:
            if tensor.linear:
                copies, rows, columns = matrices_of(tensor, architecture)
                assert copies * rows * columns == tensor.numel


def test_a_square_matrix_is_the_same_both_ways() -> None:
    architecture = read_architecture(GPT2)
    square = TensorSpec(name="w", shape=(768, 768), part="attention", module="o_proj", linear=True)
    assert matrices_of(square, architecture) == (1, 768, 768)
