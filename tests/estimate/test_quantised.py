"""quantization_config of real models and of each tool, and the bytes that come of it."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture
from llmkit.estimate.quantised import scheme_of_config
from llmkit.estimate.read_architecture import read_architecture
from llmkit.estimate.scheme_names import parse_scheme
from llmkit.estimate.weight_bytes import WeightBytes, weight_bytes
from llmkit.formats.model_folder import read_config

LLAMA = {
    **{"model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 1000, "torch_dtype": "float16"},
    "tie_word_embeddings": False,
}
MIXTRAL = {**LLAMA, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
ATTENTION, MLP, HEAD = 4 * 256 * 256, 3 * 256 * 512, 1000 * 256


def architecture(config: dict[str, Any] = LLAMA) -> Architecture:
    return read_architecture(config)


def sized(
    section: dict[str, Any], config: dict[str, Any] = LLAMA, key: str = "quantization_config"
) -> WeightBytes:
    scheme = scheme_of_config({**config, key: section})
    assert scheme is not None
    return weight_bytes(architecture(config), scheme)


def test_a_model_that_is_not_quantised_has_no_scheme() -> None:
    assert scheme_of_config(LLAMA) is None
    assert scheme_of_config({**LLAMA, "quantization_config": None}) is None


@pytest.mark.parametrize(
    ("section", "name"),
    [
        (
            {"quant_method": "gptq", "bits": 4, "group_size": 128, "checkpoint_format": "gptq"},
            "gptq-4bit-g128",
        ),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1, "sym": True}, "gptq-8bit"),
        ({"quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": True}, "awq-4bit-g64"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bnb-int8"),
        (
            {
                **{"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
                "bnb_4bit_use_double_quant": True,
            },
            "nf4",
        ),
        ({"quant_method": "bitsandbytes", "_load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "nf4-plain"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8-block128"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"bits": 4, "group_size": 64, "mode": "affine"}, "mlx-4bit-g64"),
    ],
)
def test_a_config_is_sized_as_the_name_that_a_user_would_type(section: dict[str, Any], name: str) -> None:
    scheme = scheme_of_config({**LLAMA, "quantization_config": section})
    assert scheme is not None
    assert scheme.name == name
    assert weight_bytes(architecture(), scheme) == weight_bytes(architecture(), parse_scheme(name))


@pytest.mark.parametrize(
    ("folder", "name"), [("DeepSeek-V3", "fp8-block128"), ("gpt2-gptq-4bit", "gptq-4bit-g128")]
)
def test_real_configs_are_sized(shared_data: Any, folder: str, name: str) -> None:
    config = read_config(shared_data / "configs" / folder)
    scheme = scheme_of_config(config)
    assert scheme is not None
    assert scheme.name == name
    found = weight_bytes(read_architecture(config), scheme)
    assert found == weight_bytes(read_architecture(config), parse_scheme(name))


def test_deepseek_v3_keeps_embeddings_router_norms_and_head_in_16_bits(shared_data: Any) -> None:
    config = read_config(shared_data / "configs" / "DeepSeek-V3")
    scheme = scheme_of_config(config)
    assert scheme is not None
    found = weight_bytes(read_architecture(config), scheme)
    kept = 2 * 129_280 * 7168 + 58 * 256 * 7168 + 61 * (2 * 7168 + 1536 + 512) + 7168
    assert found.formats["bfloat16"] == 2 * kept
    assert found.formats["fp8"] == 671_026_404_352 - kept


def test_a_real_list_of_modules_is_left_alone(shared_data: Any) -> None:
    config = read_config(shared_data / "configs" / "Qwen3-30B-A3B-FP8")
    scheme = scheme_of_config(config)
    assert scheme is not None
    found = weight_bytes(read_architecture(config), scheme)
    attention = 48 * 2048 * 128 * (32 + 4 + 4 + 32)
    assert found.formats["fp8"] == attention + 48 * 128 * 3 * 768 * 2048
    assert found.by_part["router"] == 2 * 48 * 128 * 2048


def test_modules_to_not_convert_are_left_alone_by_beginning_pattern_or_end() -> None:
    section = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}
    for names, kept in (
        (None, 0),
        (["lm_head"], 0),
        (["model.layers.0"], ATTENTION + MLP),
        (["model.layers.1.self_attn"], ATTENTION),
        (["model.layers.*.mlp.gate_proj"], 2 * 256 * 512),
        (["mlp.gate"], 0),  # gate_proj is another module
        (["down_proj", "o_proj"], 2 * (256 * 512 + 256 * 256)),
    ):
        found = sized({**section, "modules_to_not_convert": names})
        assert found.formats["int4"] == (2 * (ATTENTION + MLP) - kept) // 2, names


def test_the_router_of_experts_stays_in_16_bits_and_the_experts_do_not() -> None:
    found = sized({"quant_method": "gptq", "bits": 4, "group_size": 32}, MIXTRAL)
    assert found.by_part["router"] == 2 * 2 * 8 * 256
    assert found.formats["int4"] == 2 * (ATTENTION + 8 * MLP) // 2


@pytest.mark.parametrize("name", ["experts.0.w1", "experts.3.w1", "experts.7.w1"])
def test_a_list_that_parts_experts_is_an_error(name: str) -> None:
    section = {"quant_method": "awq", "bits": 4, "group_size": 32, "modules_to_not_convert": [name]}
    with pytest.raises(ConfigError, match=r"experts of .*experts\.\*\.w1.* are stored in different formats"):
        sized(section, MIXTRAL)


def test_gptq_takes_the_head_where_the_config_says_so() -> None:
    section = {"quant_method": "gptq", "bits": 8, "group_size": 128}
    architecture_ = {**LLAMA, "vocab_size": 1024}
    without = sized(section, architecture_).formats["int8"]
    assert sized({**section, "lm_head": True}, architecture_).formats["int8"] == without + 1024 * 256


def test_gptqmodels_dynamic_rules_change_bits_or_leave_a_module() -> None:
    rules = {r"-:.*\.0\.mlp\..*": {}, r"+:.*down_proj": {"bits": 8, "group_size": 32}}
    found = sized({"quant_method": "gptq", "bits": 4, "group_size": 128, "dynamic": rules})
    assert found.formats["int8"] == 256 * 512
    assert found.formats["int4"] == (2 * ATTENTION + MLP - 256 * 512) // 2


def test_gptq_of_some_modules_leaves_the_others() -> None:
    blocks = [["self_attn.k_proj", "self_attn.v_proj"], ["mlp.up_proj"]]
    section = {"quant_method": "gptq", "bits": 4, "group_size": 128, "modules_in_block_to_quantize": blocks}
    assert sized(section).formats["int4"] == 2 * (2 * 256 * 256 + 256 * 512) // 2


def test_bitsandbytes_takes_the_head_unless_a_list_names_it() -> None:
    section = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    layers = 2 * (ATTENTION + MLP)
    assert sized(section).formats["int8"] == layers
    assert sized({**section, "llm_int8_skip_modules": ["lm_head"]}).formats["int8"] == layers
    assert (
        sized({**section, "llm_int8_skip_modules": ["o_proj"]}).formats["int8"] == layers + HEAD - 2 * 256**2
    )


def test_fp8_without_blocks_has_a_scale_for_each_matrix() -> None:
    assert sized({"quant_method": "fp8"}).formats["scales"] == 2 * 7 * 4
    assert sized({"quant_method": "fp8", "activation_scheme": "static"}).formats["scales"] == 2 * 7 * 8


def test_mlx_reads_the_format_of_each_path() -> None:
    section = {
        **{"group_size": 64, "bits": 4, "lm_head": False},
        "model.embed_tokens": {"group_size": 32, "bits": 8},
        "model.layers.1.mlp.down_proj": {"group_size": 64, "bits": 6},
        "model.layers.0.mlp.down_proj": True,
    }
    for key in ("quantization", "quantization_config"):
        found = sized(section, key=key)
        assert found.formats["int8"] == HEAD
        assert found.formats["int6"] == 256 * 512 * 6 // 8
        assert found.by_part["head"] == 2 * HEAD


def test_mlx_stacks_experts_under_another_name_and_quantises_the_router() -> None:
    path = "model.layers.0.block_sparse_moe.switch_mlp.w1"
    found = sized({"group_size": 64, "bits": 4, path: {"group_size": 64, "bits": 8}}, MIXTRAL)
    assert found.formats["int8"] == 8 * 256 * 512
    assert found.by_part["router"] == 2 * 8 * 256 * 9 // 16


def test_the_section_of_a_model_for_images_may_be_inside() -> None:
    section = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    scheme = scheme_of_config(
        {"model_type": "gemma3", "text_config": {**LLAMA, "quantization_config": section}}
    )
    assert scheme is not None
    assert scheme.name == "gptq-4bit-g128"


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"quant_method": "hqq"}, "quant_method 'hqq' is not known here"),
        ({"quant_method": "gptqq"}, "quant_method 'gptqq'"),
        ({"weights": "?"}, "quant_method None"),
        ({"quant_method": "gptq", "group_size": 128}, "quantization_config.bits is None"),
        ({"quant_method": "gptq", "bits": 5, "group_size": 128}, "bits is 5"),
        ({"quant_method": "gptq", "bits": True, "group_size": 128}, "bits is True"),
        ({"quant_method": "gptq", "bits": 4, "group_size": "all"}, "group_size is 'all'"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128, "checkpoint_format": "marlin"}, "'marlin'"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128, "dynamic": {"-:(": {}}}, "dynamic is"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128, "dynamic": {"a": 3}}, "holds 3"),
        ({"quant_method": "awq", "bits": 8, "group_size": 128}, "bits is 8"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemv"}, "version is 'gemv'"),
        (
            {"quant_method": "awq", "bits": 4, "group_size": 64, "modules_to_not_convert": "x"},
            "a list of names",
        ),
        ({"quant_method": "bitsandbytes"}, "load_in_4bit is None"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "x"}, "nf4 or fp4"),
        ({"quant_method": "fp8", "weight_block_size": [128]}, "weight_block_size is"),
        ({"bits": 4, "group_size": 64, "mode": "new"}, "mode is 'new'"),
    ],
)
def test_what_is_not_known_is_an_error_that_names_it(section: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        scheme_of_config({**LLAMA, "quantization_config": section})
    assert problem in raised.value.problem


def test_an_unknown_method_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as raised:
        scheme_of_config({"quantization_config": {"quant_method": "bitsnbytes"}})
    assert raised.value.hint == "did you mean bitsandbytes?"
