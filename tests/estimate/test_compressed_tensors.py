"""compressed-tensors configs as llm-compressor writes them."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.compressed_tensors import compressed_tensors_scheme
from llmkit.estimate.quantised_keys import QuantisedKeys
from llmkit.estimate.read_architecture import read_architecture
from llmkit.estimate.scheme_names import parse_scheme
from llmkit.estimate.stored import Scheme
from llmkit.estimate.weight_bytes import weight_bytes

MIXTRAL = read_architecture(
    {
        **{"model_type": "mixtral", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2},
        **{"num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 1000},
        **{"num_local_experts": 4, "num_experts_per_tok": 2, "tie_word_embeddings": False},
    }
)
ATTENTION, EXPERTS, ROUTER, HEAD = 2 * 4 * 256 * 256, 2 * 4 * 3 * 256 * 512, 2 * 4 * 256, 1000 * 256
IGNORE = ["lm_head", "re:.*block_sparse_moe.gate$"]
W4 = {
    "num_bits": 4,
    "type": "int",
    "symmetric": True,
    "strategy": "group",
    "group_size": 128,
    "dynamic": False,
}
W8 = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False}
FP8 = {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "channel", "dynamic": False}


def scheme(form: str, *groups: dict[str, Any], ignore: list[str] | None = None, **more: Any) -> Scheme:
    numbered = {f"group_{number}": {"targets": ["Linear"], **group} for number, group in enumerate(groups)}
    ignored = IGNORE if ignore is None else ignore
    return compressed_tensors_scheme(
        QuantisedKeys({"format": form, "config_groups": numbered, "ignore": ignored, **more})
    )


@pytest.mark.parametrize(
    ("form", "weights", "name"),
    [
        ("pack-quantized", W4, "w4a16-g128"),
        ("pack-quantized", {**W4, "symmetric": False, "group_size": 32}, "w4a16-asym-g32"),
        ("pack-quantized", W8, "w8a16"),
        ("int-quantized", W8, "w8a8"),
        ("float-quantized", FP8, "fp8-channel"),
    ],
)
def test_a_config_is_sized_as_the_name_that_a_user_would_type(
    form: str, weights: dict[str, Any], name: str
) -> None:
    found = scheme(form, {"weights": weights, "input_activations": None})
    assert found.name == name
    assert weight_bytes(MIXTRAL, found) == weight_bytes(MIXTRAL, parse_scheme(name))


def test_linear_means_the_head_and_the_router_too_unless_they_are_ignored() -> None:
    everything = weight_bytes(MIXTRAL, scheme("pack-quantized", {"weights": W8}, ignore=[]))
    assert everything.formats["int8"] == ATTENTION + EXPERTS + ROUTER + HEAD
    named = [f"model.layers.{layer}.block_sparse_moe.gate" for layer in (0, 1)]
    found = weight_bytes(MIXTRAL, scheme("pack-quantized", {"weights": W8}, ignore=["lm_head", *named]))
    assert found.formats["int8"] == ATTENTION + EXPERTS


def test_groups_have_formats_of_their_own_and_the_rest_stays() -> None:
    groups = (
        {"targets": [r"re:.*self_attn\..*"], "weights": W8},
        {"targets": ["model.layers.0.block_sparse_moe.experts.0.w1"], "weights": W4},
    )
    with pytest.raises(ConfigError, match="different formats"):
        weight_bytes(MIXTRAL, scheme("pack-quantized", *groups))
    found = scheme("pack-quantized", groups[0], {"targets": [r"re:.*\.w2$"], "weights": W4})
    sizes = weight_bytes(MIXTRAL, found)
    assert found.name == "w4a16-g128+w8a16"
    assert sizes.formats["int8"] == ATTENTION
    assert sizes.formats["int4"] == EXPERTS // 3 // 2


def test_a_group_may_have_a_format_of_its_own() -> None:
    found = scheme("mixed-precision", {"weights": FP8, "format": "float-quantized"})
    assert weight_bytes(MIXTRAL, found).formats["fp8"] == ATTENTION + EXPERTS


def test_static_activations_have_a_scale_for_each_matrix() -> None:
    weights, inputs = {**FP8, "strategy": "tensor"}, {"num_bits": 8, "type": "float", "dynamic": False}
    found = weight_bytes(
        MIXTRAL, scheme("float-quantized", {"weights": weights, "input_activations": inputs})
    )
    assert found.formats["scales"] == 2 * 2 * (2 * 4 + 2 * 4 * 3)


@pytest.mark.parametrize("dynamic", [True, "local"])
def test_dynamic_activations_have_none(dynamic: object) -> None:
    weights, inputs = {**W8, "strategy": "tensor"}, {"num_bits": 8, "type": "int", "dynamic": dynamic}
    found = weight_bytes(MIXTRAL, scheme("int-quantized", {"weights": weights, "input_activations": inputs}))
    assert found.formats["scales"] == 2 * (2 * 4 + 2 * 4 * 3)


@pytest.mark.parametrize(
    ("form", "weights", "problem"),
    [
        ("marlin-24", W4, "format is 'marlin-24'"),
        ("float-quantized", W8, "format is 'float-quantized'"),
        ("pack-quantized", {**W4, "strategy": "tensor"}, "strategy is 'tensor'"),
        ("pack-quantized", {**W4, "group_size": None}, "group_size is None"),
        ("int-quantized", {**W8, "strategy": "token"}, "strategy is 'token'"),
        ("float-quantized", {**FP8, "strategy": "block"}, "block_structure is None"),
        ("pack-quantized", {**W4, "num_bits": None}, "num_bits is None"),
    ],
)
def test_what_is_not_known_is_an_error_that_names_it(
    form: str, weights: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        scheme(form, {"weights": weights})
    assert problem in raised.value.problem


def test_sparse_weights_and_a_config_without_groups_are_errors() -> None:
    with pytest.raises(ConfigError, match="format is 'sparse-24-bitmask'"):
        scheme("pack-quantized", {"weights": W4}, sparsity_config={"format": "sparse-24-bitmask"})
    with pytest.raises(ConfigError, match="config_groups"):
        scheme("pack-quantized")
