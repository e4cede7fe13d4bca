"""Parameters of published models, one of each family, against the count that is listed for their files."""

from typing import Any

import pytest

from llmkit.estimate.read_architecture import read_architecture

NAMES = (
    *("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
    *("num_attention_heads", "num_key_value_heads"),
)
DEEPSEEK_V2 = {
    **{"kv_lora_rank": 512, "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1},
    **{"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128},
}
TIED = {"tie_word_embeddings": True}
MODELS: dict[str, tuple[tuple[Any, ...], dict[str, Any], int]] = {
    "Pythia-160M": (("gpt_neox", 50_304, 768, 3072, 12, 12), {}, 162_322_944),
    "Phi-2": (("phi", 51_200, 2560, 10_240, 32, 32, 32), {}, 2_779_683_840),
    "Phi-3-mini": (("phi3", 32_064, 3072, 8192, 32, 32, 32), {"sliding_window": 2047}, 3_821_079_552),
    "Gemma-2B": (("gemma", 256_000, 2048, 16_384, 18, 8, 1), {"head_dim": 256}, 2_506_172_416),
    "Gemma-7B": (("gemma", 256_000, 3072, 24_576, 28, 16, 16), {"head_dim": 256}, 8_537_680_896),
    "OLMo-1B": (("olmo", 50_304, 2048, 8192, 16, 16, 16), TIED, 1_176_764_416),
    "OLMo-2-7B": (("olmo2", 100_352, 4096, 11_008, 32, 32, 32), {}, 7_298_617_344),
    "OLMoE-1B-7B": (
        *(("olmoe", 50_304, 2048, 1024, 16, 16, 16), {"num_experts": 64, "num_experts_per_tok": 8}),
        6_919_161_856,
    ),
    "DeepSeek-V2-Lite": (
        ("deepseek_v2", 102_400, 2048, 10_944, 27, 16, 16),
        {**DEEPSEEK_V2, "q_lora_rank": None, "n_routed_experts": 64, "moe_intermediate_size": 1408},
        15_706_484_224,
    ),
    "DeepSeek-V2": (
        ("deepseek_v2", 102_400, 5120, 12_288, 60, 128, 128),
        {**DEEPSEEK_V2, "q_lora_rank": 1536, "n_routed_experts": 160, "moe_intermediate_size": 1536},
        235_741_434_880,
    ),
    "StableLM-2-1.6B": (
        *(("stablelm", 100_352, 2048, 5632, 24, 32, 32), {"use_qkv_bias": True}),
        1_644_515_328,
    ),
    "StarCoder2-3B": (
        *(("starcoder2", 49_152, 3072, 12_288, 30, 24, 2), {"sliding_window": 4096}),
        3_030_371_328,
    ),
    "SmolLM3-3B": (("smollm3", 128_256, 2048, 11_008, 36, 16, 4), {}, 3_075_098_624),
    "Granite-3.0-2B": (("granite", 49_155, 2048, 8192, 40, 32, 8), TIED, 2_533_531_648),
    "Command-R": (("cohere", 256_000, 8192, 22_528, 40, 64, 64), {}, 34_980_831_232),
    "Qwen1.5-MoE-A2.7B": (
        ("qwen2_moe", 151_936, 2048, 5632, 24, 16, 16),
        {
            **{"num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408},
            "shared_expert_intermediate_size": 5632,
        },
        14_315_784_192,
    ),
    "gpt-oss-120b": (
        ("gpt_oss", 201_088, 2880, 2880, 36, 64, 8),
        {"num_local_experts": 128, "num_experts_per_tok": 4},
        116_829_156_672,
    ),
    "Llama-4-Scout, text": (
        ("llama4_text", 202_048, 5120, 8192, 48, 40, 8),
        {"intermediate_size_mlp": 16_384, "num_local_experts": 16, "num_experts_per_tok": 1},
        107_769_861_120,
    ),
    "Falcon-40B": (
        ("falcon", 65_024, 8192, 4 * 8192, 60, 128),
        {"num_kv_heads": 8, "new_decoder_architecture": True},
        41_303_293_952,
    ),
    "Mamba-130M": (("mamba", 50_280, 768, 1536, 24), {}, 129_135_360),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_published_model_has_as_many_parameters_as_its_files_list(name: str) -> None:
    sizes, more, parameters = MODELS[name]
    config = dict(zip(NAMES, sizes, strict=False)) | more
    if config["model_type"] == "falcon":
        config["ffn_hidden_size"] = config.pop("intermediate_size")
    assert read_architecture(config).parameters == parameters
