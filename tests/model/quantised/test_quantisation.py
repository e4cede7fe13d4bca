"""Which layout a config.json's words stand for, and which words are refused."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.formats.bytewise import Bytewise
from llmkit.formats.quantised.awq import Awq
from llmkit.formats.quantised.bnb_4bit import Bnb4Bit
from llmkit.formats.quantised.compressed_tensors import PackQuantized
from llmkit.formats.quantised.gptq import Gptq
from llmkit.formats.quantised.mlx_affine import MlxAffine
from llmkit.formats.quantised.mxfp4 import Mxfp4
from llmkit.model.quantised.quantisation import quantisation

Q = "model.layers.0.self_attn.q_proj"
DOWN = "model.layers.0.mlp.down_proj"
INT4 = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 128}
INT8 = {"num_bits": 8, "type": "int", "symmetric": False, "strategy": "channel"}
FP8 = {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [128, 128]}


def _layout(section: dict[str, Any], module: str = Q, key: str = "quantization_config") -> Any:
    found = quantisation({key: section}, "here")
    assert found is not None
    return found.layout(module)


def _compressed(**groups: Any) -> dict[str, Any]:
    return {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": groups}


@pytest.mark.parametrize(
    ("section", "layout"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, Gptq(4, 128, less_one=True)),
        ({"quant_method": "gptq", "bits": 3, "group_size": -1, "checkpoint_format": "gptq"}, Gptq(3, 0)),
        (
            {"quant_method": "gptq", "bits": 8, "group_size": 32, "checkpoint_format": "gptq_v2"},
            Gptq(8, 32, less_one=False),
        ),
        (
            {"quant_method": "gptq", "bits": 4, "group_size": 32, "format": "gptq_v2"},
            Gptq(4, 32, less_one=False),
        ),
        ({"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemm"}, Awq(64)),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 128}, Awq(128)),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, Bnb4Bit()),
        (
            {"quant_method": "fp8", "weight_block_size": [128, 128]},
            Bytewise("F8_E4M3", (128, 128), inverse=True),
        ),
        ({"quant_method": "mxfp4"}, Mxfp4()),
        ({"quant_method": "fp8"}, Bytewise("F8_E4M3", None, inverse=True)),
        ({"bits": 4, "group_size": 64}, MlxAffine(4, 64)),
        (_compressed(a={"targets": ["Linear"], "weights": INT4}), PackQuantized(4, 128)),
        (
            _compressed(a={"targets": ["Linear"], "weights": INT8}),
            PackQuantized(8, 0, symmetric=False),
        ),
        (
            _compressed(a={"targets": ["Linear"], "weights": INT8, "format": "int-quantized"}),
            Bytewise("I8"),
        ),
        (
            _compressed(a={"targets": ["Linear"], "weights": FP8, "format": "float-quantized"}),
            Bytewise("F8_E4M3", (128, 128)),
        ),
    ],
)
def test_a_section_stands_for_a_layout(section: dict[str, Any], layout: Any) -> None:
    assert _layout(section) == layout


def test_plain_numbers_have_no_section() -> None:
    assert quantisation({"model_type": "llama", "quantization_config": None}, "here") is None


def test_mlx_writes_quantization_and_the_model_may_be_inside_another() -> None:
    section = {"bits": 4, "group_size": 64, DOWN: {"bits": 8, "group_size": 32}, "lm_head": False}
    assert _layout(section, key="quantization") == MlxAffine(4, 64)
    assert _layout(section, DOWN, key="quantization") == MlxAffine(8, 32)
    assert quantisation({"text_config": {"quantization": section}}, "here") is not None


def test_a_modules_own_group_comes_before_patterns_and_those_before_all_linears() -> None:
    section = _compressed(
        all={"targets": ["Linear"], "weights": INT4 | {"num_bits": 2}},
        some={"targets": ["re:.*down_proj"], "weights": INT4 | {"num_bits": 3}},
        one={"targets": [DOWN], "weights": INT4},
    )
    assert _layout(section, DOWN).bits == 4
    assert _layout(section, DOWN.replace("0", "1")).bits == 3
    assert _layout(section).bits == 2
    del section["config_groups"]["all"]
    with pytest.raises(ConfigError, match=f"{Q} is quantised, but no group"):
        _layout(section)


def test_gptqs_rules_change_bits_and_groups_of_the_modules_they_match() -> None:
    rules = {r"-:.*gate": {}, r"+:.*down_proj$": {"bits": 8}, r".*\.q_proj": {"group_size": 32}}
    section = {"quant_method": "gptq", "bits": 4, "group_size": 128, "dynamic": rules}
    assert _layout(section, DOWN) == Gptq(8, 128)
    assert _layout(section) == Gptq(4, 32)
    assert _layout(section, "model.layers.0.self_attn.v_proj") == Gptq(4, 128)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"quant_method": "modelopt"}, "quant_method 'modelopt' are not supported"),
        ({"quant_method": "gptq", "bits": 5, "group_size": 128}, "bits 5 are not supported"),
        ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, "checkpoint_format 'marlin'"),
        ({"quant_method": "gptq", "bits": 4, "group_size": "all"}, "group_size 'all'"),
        ({"quant_method": "gptq", "bits": 4, "format": "marlin"}, "format 'marlin'"),
        ({"quant_method": "gptq", "bits": 4, "is_marlin_format": True}, "is_marlin_format True"),
        ({"quant_method": "awq", "bits": 4, "version": "gemv"}, "version 'gemv'"),
        ({"quant_method": "awq", "bits": 4, "format": "gemv_fast"}, "format 'gemv_fast'"),
        ({"quant_method": "awq", "bits": 4, "version": "gemm", "backend": "llm-awq"}, "backend 'llm-awq'"),
        (_compressed(a={"targets": ["Linear"], "weights": INT4}) | {"transform_config": {"r": 1}}, "rotated"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "load_in_4bit None"),
        ({"quant_method": "fp8", "weight_block_size": [128]}, "weight_block_size"),
        ({"bits": 4, "group_size": 32, "mode": "mxfp4"}, "mode 'mxfp4'"),
        (_compressed(), "config_groups"),
        (_compressed(a={"targets": ["re:("], "weights": INT4}), r"no valid pattern"),
        (
            _compressed(a={"weights": FP8 | {"block_structure": [128]}, "format": "float-quantized"}),
            r"block_structure \[128\]",
        ),
        (
            _compressed(a={"targets": ["Linear"], "weights": INT4, "format": "marlin-24"}),
            "compressed-tensors' marlin-24 with 4-bit int weights",
        ),
    ],
)
def test_what_is_not_read_is_named(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        quantisation({"quantization_config": section}, "here")
    assert caught.value.problem.startswith("here: ") and caught.value.hint
