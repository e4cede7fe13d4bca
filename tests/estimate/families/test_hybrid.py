"""Families with layers of state: parameters of published models, by their cards."""

from typing import Any

from llmkit.estimate.families.hybrid import FORMS
from llmkit.estimate.read_architecture import FAMILIES, read_architecture

LFM2_MOE: dict[str, Any] = {  # LFM2-8B-A1B
    **{"model_type": "lfm2_moe", "vocab_size": 65536, "hidden_size": 2048, "intermediate_size": 7168},
    **{"moe_intermediate_size": 1792, "num_hidden_layers": 24, "num_dense_layers": 2, "num_experts": 32},
    **{"num_experts_per_tok": 4, "num_attention_heads": 32, "num_key_value_heads": 8, "conv_L_cache": 3},
    "layer_types": ["full_attention" if layer in (2, 6, 10, 14, 18, 21) else "conv" for layer in range(24)],
}
QWEN_MOE: dict[str, Any] = {  # Qwen3.5-35B-A3B, with the defaults of its class
    **{"model_type": "qwen3_5_moe_text", "vocab_size": 248320, "hidden_size": 2048, "num_hidden_layers": 40},
    **{"num_attention_heads": 16, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512},
    **{"num_experts": 256, "num_experts_per_tok": 8},
}


def test_lfm2s_mixture_is_as_large_as_its_name_says() -> None:
    found = read_architecture(LFM2_MOE)
    assert round(found.parameters / 1e9, 1) == 8.3
    assert round(found.active_parameters / 1e9, 2) == 1.56


def test_qwens_mixture_is_as_large_as_its_name_says() -> None:
    found = read_architecture(QWEN_MOE)
    assert round(found.parameters / 1e9) == 35
    assert round(found.active_parameters / 1e9) == 3
    assert [cache.kind for cache in found.caches[:4]] == ["state", "state", "state", "full"]


def test_every_family_here_is_found_by_its_name() -> None:
    assert {name for name, module in FAMILIES.items() if module == "hybrid"} == set(FORMS)
