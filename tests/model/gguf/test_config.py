"""The config.json of a GGUF file: what was written comes back, others' files go by llama.cpp's rules."""

from typing import Any

import gguf_models
import pytest
import torch
from gguf_models import CASES, case_config

from llmkit.errors import ConfigError
from llmkit.estimate.read_architecture import read_architecture
from llmkit.formats.gguf.header import GgufHeader, GgufTensorInfo, SkippedArray
from llmkit.formats.gguf.values import Typed
from llmkit.model.config import ModelConfig
from llmkit.model.gguf.config import gguf_config, gguf_model_config, layers_ahead
from llmkit.model.gguf.save import gguf_model
from llmkit.model.transformer import Transformer

ELSEWHERE = (
    *("initializer_range", "experts", "rope_scaling", "position"),
    *("bos_token_id", "eos_token_id", "pad_token_id"),
)
"""Fields of training, of tests of their own, and of the tokenizer."""


def header_of(config: ModelConfig, **more: Any) -> GgufHeader:
    """The header of a model's file, some keys changed (None: left out)."""
    with torch.device("meta"):
        made = gguf_model(Transformer(config), "float32")
    plain = {key: one.value if isinstance(one, Typed) else one for key, one in made.metadata.items()}
    plain = {key: one for key, one in {**plain, **more}.items() if one is not None}
    tensors = (GgufTensorInfo(one.name, one.shape[::-1], one.type, one.nbytes, 0) for one in made.tensors)
    return GgufHeader(3, plain, tuple(tensors), 0)


@pytest.mark.parametrize(("family", "changes"), CASES)
def test_every_family_is_read_as_it_was_written(family: str, changes: dict[str, Any]) -> None:
    config = case_config(family, changes)
    again = gguf_model_config(header_of(config), "a.gguf")
    for name, value in vars(config).items():
        if name not in ELSEWHERE:
            found = getattr(again, name)
            assert found == (pytest.approx(value) if isinstance(value, float) else value), name


def test_the_result_is_a_config_json() -> None:
    config = case_config("gpt2", {})
    read = gguf_config(header_of(config), "a.gguf")
    assert (read["model_type"], read["n_embd"], read["n_inner"]) == ("gpt2", 64, 256)
    assert ModelConfig.from_hf(read).hidden_size == 64


def test_without_our_own_key_the_first_family_of_an_architecture_is_taken() -> None:
    for family, changes, alone in (
        ("mistral", {"sliding_window": None}, "llama"),
        ("mistral", gguf_models.WINDOW, "mistral"),
        ("mixtral", gguf_models.LOCAL, "mixtral"),
        ("olmo3", {**gguf_models.WINDOW, **gguf_models.MHA}, "olmo3"),
        ("deepseek_v3", {**gguf_models.LATENT, **gguf_models.GROUPS}, "deepseek_v3"),
        ("deepseek_v2", gguf_models.LATENT, "deepseek_v2"),
    ):
        config = case_config(family, changes)
        for own, expected in ((family, family), (None, alone), ("gemma", alone)):
            header = header_of(config, **{"llmkit.model_type": own})
            assert gguf_config(header, "a.gguf")["model_type"] == expected


def test_layers_that_predict_further_tokens_are_left_out() -> None:
    """As in the files of GLM-4.5, whose last block is one."""
    config = case_config("glm4_moe", gguf_models.ROUTED)
    more = {"glm4moe.block_count": 5, "glm4moe.nextn_predict_layers": 1}
    assert gguf_model_config(header_of(config, **more), "a.gguf").num_hidden_layers == 4


def test_a_layer_of_qwen35_that_predicts_further_keeps_no_state() -> None:
    config = case_config("qwen3_5_text", {**gguf_models.DELTA, "num_hidden_layers": 6})
    more = {"qwen35.block_count": 7, "qwen35.nextn_predict_layers": 1}
    again = gguf_model_config(header_of(config, **more), "a.gguf")
    assert again.num_hidden_layers == 6 and again.state_layers == (0, 1, 2, 4, 5) == config.state_layers


def test_experts_alone_need_no_width_of_an_mlp() -> None:
    """As in converted files of Qwen3.5's mixtures, whose config.json has none."""
    config = case_config("qwen3_5_moe_text", {**gguf_models.SHARED, **gguf_models.DELTA})
    again = gguf_model_config(header_of(config, **{"qwen35moe.feed_forward_length": None}), "a.gguf")
    assert again.experts is not None and (again.intermediate_size, again.experts.intermediate_size) == (
        32,
        32,
    )
    with pytest.raises(ConfigError, match=r"no qwen35\.feed_forward_length"):
        config = case_config("qwen3_5_text", gguf_models.DELTA)
        gguf_model_config(header_of(config, **{"qwen35.feed_forward_length": None}), "a.gguf")


def test_a_nemotron_h_of_the_converter_is_read_by_its_arrays_and_has_no_positions() -> None:
    theirs: dict[str, Any] = {"nemotron_h.rope.dimension_count": 78, "nemotron_h.context_length": 2**20}
    left_out = dict.fromkeys(("llmkit.model_type", "nemotron_h.attention.layer_norm_epsilon"))
    header = header_of(case_config("nemotron_h", gguf_models.NEMOTRON_H), **theirs, **left_out)
    found = gguf_config(header, "x.gguf")
    assert found["hybrid_override_pattern"] == "M-*-M" and found["max_position_embeddings"] == 2**20
    assert not [key for key in found if "rope" in key]


def test_a_hybrid_granite_rotates_unless_its_file_says_that_it_does_not() -> None:
    config = case_config("granitemoehybrid", gguf_models.GRANITE_H)
    key = "granitehybrid.rope.scaling.finetuned"
    for says, kind in ((False, "nope"), (True, "rope"), (None, "rope")):  # llama.cpp's own default
        found = gguf_config(header_of(config, **{key: says, "llmkit.model_type": None}), "x.gguf")
        assert found["position_embedding_type"] == kind
        assert found["layer_types"] == ["mamba", "attention", "mamba", "mamba"]


def test_defaults_are_llama_cpps() -> None:
    config = case_config("gemma3_text", {**gguf_models.WINDOW, "head_dim": 16, "query_pre_attn_scalar": 16})
    absent = {f"gemma3.{key}": None for key in ("rope.freq_base_swa", "attention.sliding_window_pattern")}
    again = gguf_model_config(header_of(config, **absent), "a.gguf")
    assert again.sliding_rope_theta == 10_000.0 and again.sliding_layers == (0, 1, 2, 3)


@pytest.mark.parametrize(("layers", "scale"), [(26, 16**-0.5), (46, (64 / 4) ** -0.5 * 1.0)])
def test_gemma_2_27b_is_known_by_its_layers(layers: int, scale: float) -> None:
    changes = {**gguf_models.WINDOW, "head_dim": 32 if layers == 46 else 16, "num_hidden_layers": layers}
    config = case_config("gemma2", {**changes, "query_pre_attn_scalar": 16})
    assert gguf_model_config(header_of(config), "a.gguf").attention_scale == pytest.approx(scale)


def test_special_ids_are_the_tokenizers() -> None:
    ids = {"bos": 1, "eos": 2, "eot": 7, "padding": 0}
    more = {f"tokenizer.ggml.{what}_token_id": one for what, one in ids.items()}
    read = gguf_model_config(header_of(case_config("qwen3", {}), **more), "a.gguf")
    assert (read.bos_token_id, read.eos_token_id, read.pad_token_id) == (1, (2, 7), 0)


def test_the_dtype_is_that_of_most_weights_and_float32_of_quantised_ones() -> None:
    with torch.device("meta"):
        model = Transformer(case_config("qwen3", {}))
    for dtype, expected in (("float16", "float16"), ("bfloat16", "bfloat16"), ("q8_0", "float32")):
        made = gguf_model(model, dtype)
        plain = {key: one.value if isinstance(one, Typed) else one for key, one in made.metadata.items()}
        tensors = (GgufTensorInfo(one.name, one.shape[::-1], one.type, one.nbytes, 0) for one in made.tensors)
        assert gguf_config(GgufHeader(3, plain, tuple(tensors), 0), "a")["dtype"] == expected


def test_a_vocabulary_alone_is_told_as_one() -> None:
    header = GgufHeader(3, {"general.architecture": "bert", "tokenizer.ggml.model": "bert"}, (), 0)
    with pytest.raises(ConfigError, match=r"a\.gguf: a vocabulary only") as caught:
        gguf_config(header, "a.gguf")
    assert "-t a.gguf" in caught.value.hint


def test_layers_ahead_are_those_that_the_metadata_tells_of() -> None:
    config = case_config("qwen3", {})
    assert layers_ahead(header_of(config), "a.gguf") == 0
    assert layers_ahead(header_of(config, **{"qwen3.nextn_predict_layers": 2}), "a.gguf") == 2
    with pytest.raises(ConfigError, match=r"nextn_predict_layers"):
        layers_ahead(header_of(config, **{"qwen3.nextn_predict_layers": "one"}), "a.gguf")


def test_what_is_not_known_is_named() -> None:
    header = header_of(case_config("qwen3", {}), **{"general.architecture": "mamba"})
    with pytest.raises(ConfigError, match=r"a.gguf: general.architecture 'mamba' is not supported"):
        gguf_config(header, "a.gguf")
    header = header_of(case_config("qwen3", {}), **{"qwen3.attention.layer_norm_rms_epsilon": None})
    with pytest.raises(ConfigError, match=r"no qwen3.attention.layer_norm_rms_epsilon"):
        gguf_config(header, "a.gguf")
    header = header_of(case_config("llama", {}), **{"llama.rope.dimension_count": 8})
    with pytest.raises(ConfigError, match=r"a.gguf: a llama model has rotary_dim"):
        gguf_config(header, "a.gguf")


SIZES = {
    **{"block_count": 32, "context_length": 8192, "embedding_length": 4096, "feed_forward_length": 14_336},
    **{"attention.head_count": 32, "attention.head_count_kv": 8},
    **{"attention.layer_norm_rms_epsilon": 1e-5, "attention.layer_norm_epsilon": 1e-5},
}


def sized_header(arch: str, *tensors: str, vocabulary: int = 128_256, **more: Any) -> GgufHeader:
    metadata = {f"{arch}.{key}": value for key, value in (SIZES | more).items()}
    names = ("token_embd.weight", *tensors)
    infos = tuple(GgufTensorInfo(name, (4096, vocabulary), "F16", 0, 0) for name in names)
    return GgufHeader(3, {"general.architecture": arch, **metadata}, infos, 0)


def test_llama_3_has_its_published_parameters() -> None:
    shape = read_architecture(gguf_config(sized_header("llama", "output.weight"), "x.gguf"))
    assert shape.parameters == 8_030_261_248
    tied = read_architecture(gguf_config(sized_header("llama"), "x.gguf"))
    assert tied.parameters == 8_030_261_248 - 128_256 * 4096


def test_a_llama_with_experts_is_mixtral() -> None:
    header = sized_header("llama", "output.weight", vocabulary=32_000, expert_count=8, expert_used_count=2)
    shape = read_architecture(gguf_config(header, "x.gguf"))
    assert (shape.parameters, shape.active_parameters) == (46_702_792_704, 12_879_925_248)


def test_a_list_of_equal_numbers_is_that_number() -> None:
    even = sized_header("llama", **{"attention.head_count_kv": [8] * 32})
    assert gguf_config(even, "x.gguf")["num_key_value_heads"] == 8
    for value in ([8, 4], SkippedArray(2000), 1.5):
        with pytest.raises(
            ConfigError, match=r"x.gguf: llama.attention.head_count_kv is not one whole number"
        ):
            gguf_config(sized_header("llama", **{"attention.head_count_kv": value}), "x.gguf")


def test_a_header_that_is_not_covered_is_named() -> None:
    with pytest.raises(ConfigError, match=r"general.architecture 'mamba' is not supported"):
        gguf_config(sized_header("mamba"), "x.gguf")
    other = (GgufTensorInfo("output_norm.weight", (4096,), "F32", 0, 0),)
    with pytest.raises(ConfigError, match=r"no tensor token_embd.weight"):
        gguf_config(GgufHeader(3, {"general.architecture": "llama"}, other, 0), "x.gguf")
    with pytest.raises(ConfigError, match=r"a vocabulary only"):
        gguf_config(GgufHeader(3, {"general.architecture": "llama"}, (), 0), "x.gguf")


@pytest.mark.parametrize("arch", ["qwen2", "qwen3", "gemma2", "gpt2", "phi3"])
def test_every_family_that_is_said_to_be_covered_is_sized(arch: str) -> None:
    more = {"attention.head_count_kv": 32} if arch == "gpt2" else {}
    shape = read_architecture(gguf_config(sized_header(arch, **more), "x.gguf"))
    assert (shape.num_hidden_layers, shape.vocab_size, shape.hidden_size) == (32, 128_256, 4096)
