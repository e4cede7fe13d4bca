"""Types of tensors in GGUF files: what llama.cpp's own snapshots of its choices say of real models.

Rows come from llama.cpp's tests/snapshots/*.schema, and from the rules where no snapshot reaches.
"""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture
from llmkit.estimate.gguf_mix import BASE_TYPES, NEED_IMATRIX, gguf_types
from llmkit.estimate.read_architecture import read_architecture

LLAMA_70B = {
    **{"model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80},
    **{"num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 128_256},
    "tie_word_embeddings": False,
}
LLAMA_7B = {
    **{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32},
    **{"num_attention_heads": 32, "vocab_size": 32_000, "tie_word_embeddings": False},
}
QWEN3_14B = {
    **{"model_type": "qwen3", "hidden_size": 5120, "intermediate_size": 17408, "num_hidden_layers": 40},
    **{"num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936},
    "tie_word_embeddings": False,
}
MIXTRAL = {
    **{"model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32},
    **{"num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8},
    **{"num_experts_per_tok": 2, "vocab_size": 32_000, "tie_word_embeddings": False},
}
DEEPSEEK = {
    **{"model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18432, "q_lora_rank": 1536},
    **{"num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128},
    **{"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128},
    **{"n_routed_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 2048},
    **{"n_shared_experts": 1, "first_k_dense_replace": 3, "moe_layer_freq": 1, "vocab_size": 129_280},
    **{"n_group": 8, "topk_group": 4, "tie_word_embeddings": False},
}
QWEN3_NEXT = {
    **{"model_type": "qwen3_next", "hidden_size": 2048, "intermediate_size": 5120, "num_hidden_layers": 48},
    **{"num_attention_heads": 16, "num_key_value_heads": 2, "head_dim": 256, "vocab_size": 151_936},
    **{"num_experts": 512, "num_experts_per_tok": 10, "moe_intermediate_size": 512},
    **{"shared_expert_intermediate_size": 512, "full_attention_interval": 4, "decoder_sparse_step": 1},
    **{"linear_num_key_heads": 16, "linear_key_head_dim": 128, "linear_num_value_heads": 32},
    **{"linear_value_head_dim": 128, "linear_conv_kernel_dim": 4, "tie_word_embeddings": False},
}
FALCON_7B = {
    **{"model_type": "falcon", "hidden_size": 4544, "num_hidden_layers": 32, "num_attention_heads": 71},
    **{"multi_query": True, "parallel_attn": True, "bias": False, "alibi": False},
    **{"new_decoder_architecture": False, "vocab_size": 65_024},
}


def architecture(config: dict[str, Any]) -> Architecture:
    return read_architecture(config)


def types(config: dict[str, Any], file_type: str, **options: bool) -> dict[str, str]:
    """The type of every quantised tensor, by its name in the file."""
    found = {}
    for tensor, kind in gguf_types(architecture(config), file_type, **options):
        if tensor.quantised:
            prefix = "" if tensor.layer is None else f"{tensor.layer}."
            found[prefix + tensor.name] = kind.name
    return found


def layers_with(found: dict[str, str], name: str, kind: str) -> list[int]:
    return [
        int(key.partition(".")[0])
        for key, value in found.items()
        if key.endswith(f".{name}") and value == kind
    ]


MORE_BITS_OF_40 = [0, 1, 2, 3, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 34, *range(35, 40)]
MORE_BITS_OF_80 = [*range(10), *range(12, 70, 3), *range(70, 80)]
EVERY = list(range(80))


def test_q4_k_m_gives_more_bits_to_both_ends_and_to_every_third_layer() -> None:
    found = types(QWEN3_14B, "Q4_K_M")
    assert layers_with(found, "attn_v", "Q6_K") == layers_with(found, "ffn_down", "Q6_K") == MORE_BITS_OF_40
    assert found["output"] == "Q6_K"
    assert {found["token_embd"], found["0.attn_k"], found["0.ffn_up"], found["0.attn_output"]} == {"Q4_K"}


def test_a_70b_model_has_at_least_five_bits_for_its_values() -> None:
    found = types(LLAMA_70B, "Q4_K_M")
    assert layers_with(found, "attn_v", "Q6_K") == layers_with(found, "ffn_down", "Q6_K") == MORE_BITS_OF_80
    assert layers_with(found, "attn_v", "Q5_K") == [n for n in EVERY if n not in MORE_BITS_OF_80]
    assert layers_with(types(LLAMA_70B, "Q2_K"), "attn_v", "Q5_K") == EVERY
    ungrouped = {**LLAMA_70B, "num_key_value_heads": 64}
    assert layers_with(types(ungrouped, "Q4_K_M"), "attn_v", "Q5_K") == []


@pytest.mark.parametrize(("shared_by", "kind"), [(1, "Q3_K"), (2, "Q3_K"), (4, "Q4_K"), (8, "Q4_K")])
def test_values_that_four_heads_share_get_a_bit_more_in_q2_k(shared_by: int, kind: str) -> None:
    found = types({**LLAMA_7B, "num_key_value_heads": 32 // shared_by}, "Q2_K")
    assert layers_with(found, "attn_v", kind) == list(range(32))
    assert {found["3.ffn_down"], found["3.attn_output"], found["3.attn_q"]} == {"Q3_K", "Q2_K"}


@pytest.mark.parametrize(
    ("file_type", "name", "kind", "layers"),
    [
        ("Q3_K_M", "attn_v", "Q5_K", [0, 1]),
        ("Q3_K_M", "ffn_down", "Q5_K", [0, 1]),
        ("Q3_K_L", "attn_output", "Q5_K", EVERY[:40]),
        ("Q4_K_S", "attn_v", "Q5_K", [0, 1, 2, 3]),
        ("Q4_K_S", "ffn_down", "Q5_K", [0, 1, 2, 3, 4]),
        ("IQ4_XS", "attn_v", "Q5_K", EVERY[:40]),
        ("IQ4_NL", "ffn_down", "Q5_K", [0, 1, 2, 3, 4]),
        ("IQ3_M", "ffn_down", "Q4_K", [0, 1, 2, 3, 4]),
        ("IQ3_XS", "ffn_gate", "IQ3_XXS", EVERY[5:35]),
        ("IQ3_XS", "attn_q", "IQ3_XXS", EVERY[:40]),
        ("IQ2_M", "ffn_down", "IQ3_S", [0, 1, 2, 3, 4]),
        ("IQ2_XS", "attn_v", "Q4_K", EVERY[:40]),
        ("IQ1_S", "attn_output", "IQ2_XXS", EVERY[:40]),
        ("Q2_K_S", "ffn_down", "Q4_K", [0, 1, 2, 3, 4]),
        ("TQ1_0", "ffn_down", "TQ1_0", EVERY[:40]),
    ],
)
def test_layers_with_another_type_are_those_of_the_snapshot_of_qwen3_14b(
    file_type: str, name: str, kind: str, layers: list[int]
) -> None:
    assert layers_with(types(QWEN3_14B, file_type), name, kind) == layers


@pytest.mark.parametrize(
    ("file_type", "head", "embeddings"),
    [
        ("Q8_0", "Q8_0", "Q8_0"),
        ("Q4_0", "Q6_K", "Q4_0"),
        ("Q6_K", "Q6_K", "Q6_K"),
        ("IQ1_M", "Q5_K", "Q2_K"),
        ("IQ2_XXS", "Q5_K", "Q2_K"),
        ("IQ2_S", "Q5_K", "IQ3_S"),
        ("IQ3_XXS", "Q5_K", "IQ3_S"),
        ("IQ3_XS", "Q6_K", "IQ3_S"),
        ("TQ2_0", "Q6_K", "Q4_K"),
    ],
)
def test_head_and_embeddings_have_types_of_their_own(file_type: str, head: str, embeddings: str) -> None:
    found = types(QWEN3_14B, file_type)
    assert (found["output"], found["token_embd"]) == (head, embeddings)
    tied = types({**QWEN3_14B, "tie_word_embeddings": True}, file_type)
    assert "output" not in tied
    assert tied["token_embd"] == head


@pytest.mark.parametrize("file_type", ["Q2_K", "Q3_K_S", "Q4_K_S", "Q4_K_M", "IQ4_XS"])
def test_eight_experts_have_better_attention(file_type: str) -> None:
    found = types(MIXTRAL, file_type)
    assert {found["9.attn_k"], found["9.attn_v"]} == {"Q8_0"}
    assert found["9.attn_output"] == "Q5_K"
    sixteen = types({**MIXTRAL, "num_local_experts": 16}, file_type)
    assert sixteen["9.attn_k"] == BASE_TYPES[file_type]


def test_experts_take_the_type_of_their_layer() -> None:
    found = types(DEEPSEEK, "Q4_K_M")
    more = [*range(7), *range(9, 53, 3), *range(53, 61)]
    assert (
        layers_with(found, "ffn_down_exps", "Q6_K")
        == layers_with(found, "ffn_down_shexp", "Q6_K")
        == more[3:]
    )
    assert layers_with(found, "ffn_down", "Q6_K") == [0, 1, 2]


def test_tiny_types_count_down_projections_and_not_layers() -> None:
    """61 / 8 is 7: three dense layers, and two tensors in each of the next two."""
    found = types(DEEPSEEK, "IQ2_M")
    assert (
        layers_with(found, "ffn_down_exps", "IQ3_S")
        == layers_with(found, "ffn_down_shexp", "IQ3_S")
        == [3, 4]
    )
    assert found["9.attn_k_b"] == "IQ4_NL"  # rows of 128


def test_mxfp4_is_for_tensors_of_experts_only() -> None:
    found = types(DEEPSEEK, "MXFP4_MOE")
    assert {found["5.ffn_up_exps"], found["5.attn_k_b"]} == {"MXFP4"}
    assert {found["5.ffn_up_shexp"], found["0.ffn_up"], found["output"], found["5.attn_q_b"]} == {"Q8_0"}


def test_layers_with_a_state_have_values_in_attn_qkv() -> None:
    found = types(QWEN3_NEXT, "Q4_K_M")
    more = [*range(6), *range(8, 42, 3), *range(42, 48)]
    full = [layer for layer in more if layer % 4 == 3]
    assert layers_with(found, "attn_v", "Q6_K") == full
    assert layers_with(found, "attn_qkv", "Q6_K") == [layer for layer in more if layer not in full]
    assert {found["0.attn_gate"], found["0.ssm_ba"], found["0.ssm_out"]} == {"Q4_K"}


def test_falcon_keeps_eight_bits_for_its_head_and_fewer_for_the_rest() -> None:
    found = types(FALCON_7B, "Q4_K_M")
    assert found["token_embd"] == "Q8_0"  # tied
    assert (found["0.ffn_down"], found["2.ffn_down"], found["4.ffn_down"]) == ("Q6_K", "Q5_K", "Q4_K")
    assert found["4.ffn_up"] == "Q5_0"  # rows of 4544


@pytest.mark.parametrize(
    ("wanted", "fallback"),
    [
        *(("Q2_K_S", "Q4_0"), ("Q3_K_S", "Q4_0"), ("Q4_K_S", "Q5_0"), ("Q5_K_S", "Q5_1"), ("Q6_K", "Q8_0")),
        *(("IQ4_XS", "IQ4_NL"), ("IQ2_XXS", "IQ4_NL"), ("IQ3_S", "IQ4_NL"), ("TQ2_0", "Q4_0")),
    ],
)
def test_a_row_that_is_no_multiple_of_256_takes_blocks_of_32(wanted: str, fallback: str) -> None:
    small = {**LLAMA_7B, "hidden_size": 576, "num_attention_heads": 9}
    found = types(small, wanted)
    assert found["20.ffn_up"] == fallback
    assert found["20.ffn_down"] == BASE_TYPES[wanted]  # 11008 is a multiple
    assert found["output"] == "Q8_0"


def test_a_row_that_is_no_multiple_of_32_stays_in_16_bits_or_is_refused() -> None:
    odd = {**LLAMA_7B, "intermediate_size": 11000}
    assert types(odd, "Q4_K_S")["20.ffn_down"] == "F16"
    with pytest.raises(ConfigError, match="ffn_down: a row of 11000 does not fill Q4_0 blocks of 32"):
        types(odd, "Q4_0")


def test_an_importance_matrix_is_taken_as_given_where_it_is_needed() -> None:
    for file_type in BASE_TYPES:
        without, given = types(LLAMA_7B, file_type), types(LLAMA_7B, file_type, imatrix=True)
        changed = {key for key in given if given[key] != without[key]}
        guarded = file_type in ("Q4_0", "Q5_0", "IQ4_XS", "IQ4_NL")
        assert changed == ({f"{layer}.ffn_down" for layer in range(4)} if guarded else set())
        assert not (guarded and file_type in NEED_IMATRIX)


def test_16_bit_files_have_no_exceptions() -> None:
    assert set(types(MIXTRAL, "BF16").values()) == {"BF16"}
