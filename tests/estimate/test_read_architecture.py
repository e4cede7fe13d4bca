"""Parameters, active parameters and caches of published models, against figures that others counted."""

import json
from collections import Counter
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture, LayerCache
from llmkit.estimate.file_tensors import tensor_shapes
from llmkit.estimate.read_architecture import FAMILIES, read_architecture, readers_of
from llmkit.model.config import ModelConfig
from llmkit.model.presets import PRESETS

TINY = {
    **{"model_type": "llama", "vocab_size": 48, "hidden_size": 8, "intermediate_size": 12},
    **{"num_hidden_layers": 2, "num_attention_heads": 2},
}


def sizes(
    model_type: str, vocab: int, hidden: int, width: int, layers: int, heads: int, kv_heads: int, **more: Any
) -> dict[str, Any]:
    """A config.json in the words of Llama's family."""
    return {
        **{"model_type": model_type, "vocab_size": vocab, "hidden_size": hidden, "intermediate_size": width},
        **{"num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads},
        **more,
    }


LLAMA_2_7B = sizes("llama", 32_000, 4096, 11_008, 32, 32, 32, max_position_embeddings=4096)
LLAMA_2_13B = sizes("llama", 32_000, 5120, 13_824, 40, 40, 40)
SMOLLM2 = sizes("llama", 49_152, 576, 1536, 30, 9, 3, tie_word_embeddings=True)
MISTRAL_V1 = sizes("mistral", 32_000, 4096, 14_336, 32, 32, 8, sliding_window=4096)
QWEN_2_5_7B = sizes(
    *("qwen2", 152_064, 3584, 18_944, 28, 28, 4),
    **{"sliding_window": 131_072, "use_sliding_window": False, "max_window_layers": 28},
)
GEMMA_2_2B = sizes("gemma2", 256_000, 2304, 9216, 26, 8, 4, head_dim=256, sliding_window=4096)
GEMMA_3_1B = sizes(
    *("gemma3_text", 262_144, 1152, 6912, 26, 4, 1),
    **{"head_dim": 256, "sliding_window": 512, "sliding_window_pattern": 6},
)
GPT_OSS_20B = sizes(
    *("gpt_oss", 201_088, 2880, 2880, 24, 64, 8),
    **{"head_dim": 64, "num_local_experts": 32, "num_experts_per_tok": 4, "experts_per_token": 4},
    **{"sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"] * 12},
    **{"attention_bias": True, "initial_context_length": 4096, "tie_word_embeddings": False},
)
QWEN_3_NEXT = sizes(
    *("qwen3_next", 151_936, 2048, 5120, 48, 16, 2),
    **{"head_dim": 256, "full_attention_interval": 4, "decoder_sparse_step": 1, "mlp_only_layers": []},
    **{"linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_num_key_heads": 16},
    **{"linear_num_value_heads": 32, "linear_value_head_dim": 128, "moe_intermediate_size": 512},
    **{"num_experts": 512, "num_experts_per_tok": 10, "shared_expert_intermediate_size": 512},
)
FALCON_7B: dict[str, Any] = {
    **{"model_type": "falcon", "vocab_size": 65_024, "hidden_size": 4544, "num_hidden_layers": 32},
    **{"num_attention_heads": 71, "multi_query": True, "parallel_attn": True, "bias": False, "alibi": False},
}
GEMMA_3N_E4B = sizes(
    *("gemma3n_text", 262_400, 2048, 16_384, 35, 8, 2),
    **{
        "head_dim": 256,
        "sliding_window": 512,
        "num_kv_shared_layers": 15,
        "hidden_size_per_layer_input": 256,
    },
    **{"vocab_size_per_layer_input": 262_144, "altup_num_inputs": 4, "laurel_rank": 64},
)


def kept(cache: LayerCache, tokens: int) -> int:
    """Numbers that a layer keeps of a text, by the formulas of the architecture's docstring."""
    bound = min(tokens, cache.window) if cache.kind in ("sliding", "chunked") else tokens
    per_token = {"latent": cache.latent, "shared": 0, "state": 0}
    return bound * per_token.get(cache.kind, cache.kv_heads * (cache.key_dim + cache.value_dim))


def kv_bytes(architecture: Architecture, tokens: int) -> int:
    """Of one text in bfloat16."""
    return 2 * sum(kept(cache, tokens) for cache in architecture.caches)


@pytest.mark.parametrize(
    ("config", "parameters", "per_token", "at_32k"),
    [
        (LLAMA_2_7B, 6_738_415_616, 524_288, 17_179_869_184),
        (LLAMA_2_13B, 13_015_864_320, 819_200, 26_843_545_600),
        (SMOLLM2, 134_515_008, 23_040, 754_974_720),
        (MISTRAL_V1, 7_241_732_096, 131_072, 536_870_912),
        (QWEN_2_5_7B, 7_615_616_512, 57_344, 1_879_048_192),
        (GEMMA_2_2B, 2_614_341_888, 106_496, 1_962_934_272),
        (GEMMA_3_1B, 999_885_952, 26_624, 145_752_064),
        (GPT_OSS_20B, 20_914_757_184, 49_152, 808_452_096),
        (QWEN_3_NEXT, 79_674_391_296, 24_576, 805_306_368),
        (FALCON_7B, 6_921_720_704, 8192, 268_435_456),  # per token: 32 layers of one kv head, 2 * 64 numbers
        (GEMMA_3N_E4B, None, 40_960, 285_212_672),  # 20 layers of two kv heads, 2 * 256 numbers
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else None,
)
def test_a_published_model_has_the_parameters_and_cache_that_others_counted(
    config: dict[str, Any], parameters: int | None, per_token: int, at_32k: int
) -> None:
    architecture = read_architecture(config)
    assert parameters is None or architecture.parameters == parameters
    assert kv_bytes(architecture, 1) == per_token
    assert kv_bytes(architecture, 32_768) == at_32k


def test_every_stored_config_gives_the_expected_figures(shared_data: Path) -> None:
    rows = json.loads((shared_data / "configs" / "expected.json").read_text())
    assert len(rows) >= 17
    for name, row in rows.items():
        config = json.loads((shared_data / "configs" / name / "config.json").read_text())
        architecture = read_architecture(config, name)
        parts = architecture.by_part
        assert architecture.parameters == row["parameters"], name
        assert architecture.tied_head is row["tied_head"], name
        positions = parts.get("positions", 0)  # GPT-2's table counts as an embedding there
        found = parts["embeddings"] + parts.get("head", 0) + positions
        assert found == row["embedding_and_head_parameters"], name
        assert architecture.active_parameters == row.get("active_parameters", row["parameters"]), name
        assert parts.get("experts", 0) == row.get("expert_parameters", 0), name
        assert kv_bytes(architecture, 1) == row["kv_bytes_per_token_16bit"], name
        assert architecture.max_position_embeddings == row["context_length"], name
        within = row.get("kv_bytes_16bit_at_32768_with_window_eviction", row["kv_bytes_16bit_at_32768"])
        assert kv_bytes(architecture, 32_768) == within, name


def test_every_family_is_in_the_module_that_the_table_names() -> None:
    for module in set(FAMILIES.values()):
        assert list(readers_of(module)) == [name for name, place in FAMILIES.items() if place == module]


def test_gemma_3_27b_keeps_its_windows_and_ten_full_layers() -> None:
    config = sizes("gemma3_text", 262_208, 5376, 21_504, 62, 32, 16, head_dim=128, sliding_window=1024)
    assert kv_bytes(read_architecture(config), 131_072) == 11_173_625_856


def test_gpt_oss_uses_three_billion_parameters_a_token() -> None:
    architecture = read_architecture(GPT_OSS_20B)
    assert architecture.active_parameters == 4_187_440_704
    assert architecture.active_parameters - architecture.by_part["embeddings"] == 3_608_307_264


def test_qwen3_next_keeps_a_state_in_three_layers_of_four() -> None:
    caches = read_architecture(QWEN_3_NEXT).caches
    states = [cache for cache in caches if cache.kind == "state"]
    assert [cache.kind for cache in caches[:4]] == ["state", "state", "state", "full"]
    assert len(states) == 36 and all(cache.query_heads == 0 for cache in states)
    assert sum(cache.recurrent for cache in states) == 18_874_368
    assert sum(cache.conv for cache in states) == 884_736


def test_mla_is_decoded_over_its_latent(shared_data: Path) -> None:
    config = json.loads((shared_data / "configs" / "DeepSeek-V3" / "config.json").read_text())
    cache = read_architecture(config).caches[0]
    assert (cache.kind, cache.latent, cache.score_dim, cache.mixed_dim) == ("latent", 576, 576, 512)
    assert cache.query_heads == 128


def test_llama_3_8b_multiplies_each_token_with_its_linear_weights_and_its_head() -> None:
    architecture = read_architecture(sizes("llama", 128_256, 4096, 14_336, 32, 32, 8))
    assert architecture.matmul_parameters == 7_504_658_432


def test_a_tied_head_is_multiplied_with_and_not_stored_twice() -> None:
    untied = read_architecture(TINY)
    tied = read_architecture({**TINY, "tie_word_embeddings": True})
    assert untied.parameters - tied.parameters == 48 * 8
    assert untied.matmul_parameters == tied.matmul_parameters


SINUSOIDAL = ModelConfig(
    **{"model_type": "gpt2", "vocab_size": 10, "hidden_size": 6, "intermediate_size": 7},
    **{"num_hidden_layers": 2, "num_attention_heads": 3, "norm": "layer", "position": "sinusoidal"},
    **{"hidden_act": "gelu", "attention_bias": True, "output_bias": True, "mlp_bias": True},
    gated_mlp=False,
    tie_word_embeddings=True,
)


@pytest.mark.parametrize("config", [*PRESETS.values(), SINUSOIDAL], ids=[*PRESETS, "sinusoidal"])
def test_a_model_of_our_own_has_the_parts_that_its_tensors_add_up_to(config: ModelConfig) -> None:
    parts = {"embed": "embeddings", "wte": "embeddings", "wpe": "positions", "lm_head": "head"}
    parts |= {"norm": "norms", "ln_": "norms", "attn": "attention", "gate.": "router", "experts": "experts"}
    parts["mlp"] = "mlp"
    counted: Counter[str] = Counter()
    for name, shape in tensor_shapes(config).items():
        learnt = "wpe" not in name or config.position == "learned"
        if learnt and "correction_bias" not in name:
            name = name.replace("shared_experts", "shared")
            counted[next(part for sign, part in parts.items() if sign in name)] += prod(shape)
    assert read_architecture(config.to_hf()).by_part == counted


def test_a_language_model_inside_a_larger_one_is_read_alone() -> None:
    inner = {
        "hidden_size": 2560,
        "intermediate_size": 10_240,
        "num_hidden_layers": 34,
        "sliding_window": 1024,
    }
    outer = {
        **{"model_type": "gemma3", "text_config": inner, "vision_config": {"num_hidden_layers": 27}},
        **{"torch_dtype": "bfloat16", "mm_tokens_per_image": 256},
    }
    found = read_architecture(outer)
    # as published, the file leaves the rest to the class: 8 heads, 4 kv heads, head_dim 256, 262208 rows
    assert (found.num_key_value_heads, found.head_dim, found.vocab_size) == (4, 256, 262_208)
    assert found.dtype == "bfloat16" and len(found.caches) == 34
    assert found.tensors[0].name == "language_model.model.embed_tokens.weight"
    assert found.parameters == 3_880_263_168  # of Gemma-3-4B's 4.30 billion, the language model's


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "gpt_os"}, "gpt_os"),
        ({"model_type": None}, "model_type"),
        ({"model_type": ["llama"]}, "model_type"),
        ({"model_type": "gemma3"}, "text_config"),
        ({"model_type": "gemma3", "text_config": 3}, "text_config"),
        ({"model_type": "llava", "text_config": {}}, "llava"),
        ({"vocab_size": None}, "vocab_size"),
        ({"num_experts": 8}, "num_experts"),
        ({"kv_lora_rank": 8}, "kv_lora_rank"),
        ({"sliding_window": 16}, "sliding_window"),
        ({"num_kv_shared_layers": 1}, "num_kv_shared_layers"),
        ({"hidden_sizes_of_layers": [8, 8]}, "hidden_sizes_of_layers"),
        ({"is_encoder_decoder": True}, "is_encoder_decoder"),
        ({"num_attention_heads": 3}, "hidden_size"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
        ({"num_hidden_layers": True}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"hidden_size": "8"}, "hidden_size"),
        ({"head_dim": -4}, "head_dim"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
        ({"layer_types": ["sliding_attention"] * 2}, "layer_types"),
        ({"dtype": 16}, "dtype"),
    ],
)
def test_what_cannot_be_sized_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        read_architecture({**TINY, **change}, "folder/config.json")
    assert caught.value.problem.startswith("folder/config.json: ")
    assert caught.value.hint


def test_a_config_without_a_model_type_is_told_so_by_both_readers() -> None:
    for read in (read_architecture, ModelConfig.from_hf):
        for config, found in (({}, "nothing"), ({"a": 1, "b": 2, "c": 3, "d": 4}, "a, b, c and 1 more")):
            with pytest.raises(ConfigError) as caught:
                read(config, "x.json")
            assert caught.value.problem == f"x.json: no model_type (found: {found})"


def test_an_unknown_key_that_changes_no_size_is_ignored() -> None:
    harmless = {
        **{"num_return_sequences": 1, "output_hidden_states": True, "attention_dropout": 0.1},
        **{"rope_scaling": {"rope_type": "linear", "factor": 2.0}, "quantization_config": {"bits": 4}},
        **{"bos_token_id": 1, "num_experts": None, "sliding_window": None, "unheard_of": "value"},
    }
    assert read_architecture({**TINY, **harmless}) == read_architecture(TINY)


def test_a_context_that_dynamic_scaling_stretched_is_that_of_the_model() -> None:
    scaling = {"rope_type": "dynamic", "factor": 4.0}
    short = ModelConfig.from_hf({**TINY, "max_position_embeddings": 32, "rope_scaling": scaling})
    config = replace(short, max_position_embeddings=128)
    assert config.to_hf()["max_position_embeddings"] == 32
    assert read_architecture(config.to_hf()).max_position_embeddings == 128
