"""What llama.cpp cannot compute is refused by name; what it computes nearly is told."""

from typing import Any

import gguf_models
import pytest
import torch
from gguf_models import case_config

from llmkit.errors import ConfigError
from llmkit.formats.gguf.values import Typed
from llmkit.model.gguf.architectures import gguf_architecture
from llmkit.model.gguf.save import gguf_model
from llmkit.model.transformer import Transformer


def _made(family: str, changes: dict[str, Any]) -> Any:
    with torch.device("meta"):
        return gguf_model(Transformer(case_config(family, changes)), "float32")


NO_SHARED = {"n_shared_experts": 0}
ALL_GROUPS, GROUPS_OF_ONE = {"n_group": 2, "topk_group": 2}, {"n_group": 8, "topk_group": 4}
DYNAMIC = gguf_models.rope("dynamic", factor=4.0)
OTHER_MSCALE = {"rope_parameters": {**gguf_models.LATENT_YARN["rope_parameters"], "mscale": 1.0}}


@pytest.mark.parametrize(
    ("family", "changes", "what"),
    [
        ("llama", DYNAMIC, "llama models with rope_scaling None"),
        ("qwen3", gguf_models.LLAMA3, "rope_scaling of another kind .found llama3"),
        ("llama", {"hidden_act": "relu"}, "hidden_act silu .found relu"),
        ("gemma", {"tie_word_embeddings": False}, "tie_word_embeddings True"),
        ("gemma2", {**gguf_models.WINDOW, "query_pre_attn_scalar": 9}, "attention_scale"),
        (
            "gemma2",
            {**gguf_models.WINDOW, "layer_types": ["full_attention", "sliding_attention"] * 2},
            "sliding_",
        ),
        ("smollm3", {"no_rope_layers": [1, 0, 0, 1]}, "no_rope_layers"),
        ("qwen3", gguf_models.BIAS, "output_bias False"),
        ("ernie4_5_moe", {**gguf_models.ERNIE, "moe_layer_interval": 2}, "layers .1, 2, 3. .found .1, 3"),
        ("hunyuan_v1_dense", gguf_models.BIAS, "output_bias False"),
        ("ernie4_5", {"use_bias": True}, "attention_bias False"),
        ("seed_oss", {"mlp_bias": True}, "mlp_bias False"),
        ("glm", gguf_models.WIDE, "head_dim hidden_size / num_attention_heads"),
        ("cohere2", {**gguf_models.WINDOW, **gguf_models.UNTIED}, "tie_word_embeddings True"),
        ("exaone4", gguf_models.WINDOW, "no_rope_layers"),  # windows of 64 layers alone
        ("gpt_neox", {"attention_bias": False}, "attention_bias True"),
        ("olmoe", {"num_experts": 8, "num_experts_per_tok": 2}, "num_key_value_heads 4, num_attention_heads"),
        ("qwen2", gguf_models.WIDE, "head_dim hidden_size / num_attention_heads"),
        ("qwen2_moe", {**gguf_models.SHARED, **gguf_models.WIDE}, "head_dim hidden_size / num_attention"),
        ("starcoder2", {"use_bias": False}, "output_bias True"),
        ("dots1", {**gguf_models.ROUTED, **gguf_models.MHA, **NO_SHARED}, "shared experts"),
        ("glm4_moe", {**gguf_models.ROUTED, **NO_SHARED}, "shared experts"),
        ("deepseek_v2", {**gguf_models.LATENT, **NO_SHARED}, "shared experts"),
        ("deepseek_v3", {**gguf_models.LATENT, **gguf_models.GROUPS, **NO_SHARED}, "shared experts"),
        ("deepseek_v3", {**gguf_models.LATENT, **ALL_GROUPS}, "groups of several .* 2 of 2 in 8"),
        ("glm4_moe", {**gguf_models.ROUTED, **GROUPS_OF_ONE}, "groups of several .* 4 of 8 in 8"),
        ("qwen3_moe", {**gguf_models.QWEN, "mlp_only_layers": [1], "norm_topk_prob": True}, "layers"),
        ("qwen3_moe", gguf_models.QWEN, "norm_topk_prob True .found False"),
        ("deepseek_v2", {**gguf_models.LATENT, "q_lora_rank": None}, "q_lora_rank"),
        ("qwen3_5_text", {**gguf_models.DELTA, **gguf_models.BIAS}, "attention_bias False"),
        ("qwen3_5_text", {**gguf_models.DELTA, "linear_value_head_dim": 8}, "values of 8 and keys of 16"),
        ("qwen3_next", {**gguf_models.SHARED, **gguf_models.DELTA, "mlp_only_layers": [1]}, "layers .0, 1"),
        (
            "granitemoehybrid",
            {**gguf_models.GRANITE_H, "mamba_conv_bias": False},
            "conv_bias True .found",
        ),
        ("granitemoehybrid", {**gguf_models.GRANITE_H, "mamba_proj_bias": True}, " bias False .found True"),
        ("granitemoehybrid", {**gguf_models.GRANITE_H, "hidden_act": "gelu"}, "hidden_act silu .found gelu"),
        (
            "granitemoehybrid",
            {**gguf_models.GRANITE_H, "layer_types": ["mamba"] * 4},
            "head_count_kv is not",
        ),
        ("nemotron_h", {**gguf_models.NEMOTRON_H, "time_step_limit": [0.1, 1.0]}, "step_limits .0.0, inf."),
        ("nemotron_h", {**gguf_models.NEMOTRON_H, "mlp_hidden_act": "silu"}, "hidden_act relu2 .found silu"),
        ("nemotron_h", {**gguf_models.NEMOTRON_H, "mamba_hidden_act": "gelu"}, "hidden_act silu .found gelu"),
        (
            "nemotron_h",
            {**gguf_models.NEMOTRON_H, "layers_block_type": ["mamba", "attention"]},
            "feed_forward_length is not 0 or one other",
        ),
        (
            "nemotron_h",
            {**gguf_models.NEMOTRON_H, "layers_block_type": ["mlp", "attention"]},
            "no .*.ssm.",
        ),
        (
            "nemotron_h",
            {**gguf_models.NEMOTRON_3, "layers_block_type": ["mamba", "moe", "attention", "mlp"]},
            "experts in all of these .found 1 of the 2",
        ),
        (
            "granitemoehybrid",
            {**gguf_models.ALONE, **gguf_models.LOCAL, "position_embedding_type": "nope"},
            "no_rope_layers .. .found",
        ),
        ("deepseek_v2", {**gguf_models.LATENT, **OTHER_MSCALE}, "rope_scaling"),
        (
            "deepseek_v3",
            {**gguf_models.LATENT, **gguf_models.GROUPS, "rope_interleave": False},
            "rope_interleaved",
        ),
        ("gpt_oss", {**gguf_models.LOCAL, **gguf_models.WINDOW, "swiglu_limit": 5.0}, "swiglu_limit 7.0"),
        (
            "deepseek_v3",
            {**gguf_models.LATENT, **gguf_models.GROUPS, "routed_scaling_factor": 0.0},
            "routed_scaling_factor 1.0",
        ),
    ],
)
def test_what_llama_cpp_computes_otherwise_is_refused(
    family: str, changes: dict[str, Any], what: str
) -> None:
    with pytest.raises(ConfigError, match=what):
        _made(family, changes)


@pytest.mark.parametrize(
    ("family", "changes", "what"),
    [
        ("mistral", gguf_models.WINDOW, "the last 16 tokens"),
        ("phi3", gguf_models.LONG, "by the context"),
        ("gpt_oss", {**gguf_models.LOCAL, **gguf_models.WINDOW, **gguf_models.YARN}, ""),
        ("gpt_neox", {}, "GELU"),
        ("deepseek_v3", {**gguf_models.LATENT, **gguf_models.GROUPS, "rms_norm_eps": 1e-5}, "inner norms"),
    ],
)
def test_what_comes_out_the_same_for_most_texts_is_told(
    family: str, changes: dict[str, Any], what: str
) -> None:
    lost = _made(family, changes).lost
    assert lost == [] if not what else what in lost[0]


def test_a_width_that_no_tensor_has_is_not_asked_for() -> None:
    changes = {**gguf_models.NEMOTRON_3, "intermediate_size": 96}
    assert _made("nemotron_h", changes).metadata["nemotron_h_moe.feed_forward_length"] == Typed(
        "u32", [0, 32, 0, 32, 0]
    )


def test_keys_have_the_types_and_names_of_ggufs_writer() -> None:
    constants = pytest.importorskip("gguf.constants")
    metadata = _made("qwen3", gguf_models.YARN).metadata
    known = {
        value.replace("{arch}", "qwen3")
        for group in vars(constants.Keys).values()
        if isinstance(group, type)
        for value in vars(group).values()
        if isinstance(value, str)
    }
    assert {key for key in metadata if not key.startswith("llmkit.")} <= known
    kinds = {key: one.kind for key, one in metadata.items() if isinstance(one, Typed)}
    assert kinds["qwen3.block_count"] == "u32" and kinds["qwen3.rope.freq_base"] == "f32"


def test_an_architecture_is_found_by_family() -> None:
    assert gguf_architecture(case_config("glm4_moe", gguf_models.ROUTED)).name == "glm4moe"
