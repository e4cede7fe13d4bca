"""config.json as transformers reads and writes it, in the forms of its releases 4 and 5."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.file_tensors import tensor_shapes
from llmkit.model.config import ModelConfig
from llmkit.model.families.read import FORMAT_VERSION, fields_from_hf, fields_to_hf
from llmkit.model.quantised.section import METHODS

READ = (
    *("Llama-2-7B", "Llama-2-70B", "Llama-3-8B", "Llama-3-70B", "Llama-3.1-8B", "Llama-3.1-70B"),
    *("Llama-3.2-1B-Instruct", "Mistral-7B-Instruct-v0.3", "Qwen2.5-7B-Instruct", "Qwen3-0.6B", "Qwen3-8B"),
    *("Mixtral-8x7B-v0.1", "Qwen3-30B-A3B", "gemma-2-9b-it"),
)
QUANTISED = ("DeepSeek-V3", "Qwen3-30B-A3B-FP8", "gpt2-gptq-4bit")
ARCHITECTURES = {
    **{"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "gpt2": "GPT2LMHeadModel"},
    **{"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"},
}
"""Families whose keys are written out below; all are compared in tests/parity."""
MINIMAL: dict[str, Any] = {
    **{"vocab_size": 64, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2},
    "num_attention_heads": 32,
}
MINIMAL_GPT2 = {"vocab_size": 64, "n_embd": 64, "n_layer": 2, "n_head": 32, "n_positions": 48}
LINEAR = {"rope_type": "linear", "factor": 2.0}
LLAMA3 = {
    **{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "original_max_position_embeddings": 16,
}
NAMES = {
    **{name: name for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")},
    **{name: name for name in ("max_position_embeddings", "tie_word_embeddings", "initializer_range")},
    **{name: name for name in ("bos_token_id", "pad_token_id")},
}
NAMES_OF_LLAMA = NAMES | {
    **{name: name for name in ("intermediate_size", "num_key_value_heads", "head_dim", "hidden_act")},
    "norm_eps": "rms_norm_eps",
}
NAMES_OF_GPT2 = NAMES | {
    **{"intermediate_size": "n_inner", "hidden_act": "activation_function", "norm_eps": "layer_norm_epsilon"},
}
CHANGED: dict[str, Any] = {
    **{"vocab_size": 90, "hidden_size": 48, "intermediate_size": 56, "num_hidden_layers": 3},
    **{"num_attention_heads": 6, "max_position_embeddings": 40, "norm_eps": 3e-5, "hidden_act": "relu"},
    **{"bos_token_id": 3, "pad_token_id": 4, "eos_token_id": (5, 6), "initializer_range": 0.03},
    **{"tie_word_embeddings": True, "dtype": "bfloat16"},
}
CHANGED_ROPE: dict[str, Any] = {"num_key_value_heads": 3, "head_dim": 10, "rope_theta": 54_321.0}


def _read(family: str, **keys: Any) -> ModelConfig:
    return ModelConfig.from_hf({"model_type": family, "sliding_window": None, **MINIMAL, **keys})


def _released(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    expected = json.loads((folder / "configs" / "expected.json").read_text())[name]
    return json.loads((folder / "configs" / name / "config.json").read_text()), expected


def test_every_released_config_is_read_or_refused(shared_data: Path) -> None:
    found = {path.parent.name for path in (shared_data / "configs").glob("*/config.json")}
    assert found == {*READ, *QUANTISED}


@pytest.mark.parametrize("name", READ)
def test_a_released_config_has_its_parameters_cache_and_context(shared_data: Path, name: str) -> None:
    raw, expected = _released(shared_data, name)
    config = ModelConfig.from_hf(raw)
    shapes = tensor_shapes(config)
    assert sum(math.prod(shape) for shape in shapes.values()) == expected["parameters"]
    cached = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
    assert cached == expected["kv_elements_per_token"]
    assert config.max_position_embeddings == expected["context_length"]
    assert config.tie_word_embeddings == expected["tied_head"]


@pytest.mark.parametrize("name", READ)
def test_a_released_config_is_read_as_transformers_reads_it(
    shared_data: Path, name: str, transformers: ModuleType
) -> None:
    raw, _ = _released(shared_data, name)
    ours, theirs = ModelConfig.from_hf(raw), transformers.AutoConfig.for_model(**raw)
    for field, key in NAMES_OF_LLAMA.items():
        if getattr(theirs, key, None) is not None or key != "head_dim":
            assert getattr(ours, field) == getattr(theirs, key), key
    assert (
        list(ours.eos_token_ids) == [theirs.eos_token_id] or list(ours.eos_token_ids) == theirs.eos_token_id
    )
    assert ours.dtype == raw["torch_dtype"]
    scaling = ours.rope_scaling or {"rope_type": "default"}
    assert {"rope_theta": ours.rope_theta, **scaling} == theirs.rope_parameters


@pytest.mark.parametrize("name", QUANTISED)
def test_a_quantised_model_is_the_same_model(shared_data: Path, name: str) -> None:
    raw, expected = _released(shared_data, name)
    if raw["quantization_config"]["quant_method"] not in METHODS:
        with pytest.raises(ConfigError, match=r"^there: quantised weights with quant_method .+ are not"):
            ModelConfig.from_hf(raw, source="there")
        return
    config = ModelConfig.from_hf(raw)
    assert config.max_position_embeddings == expected["context_length"]
    del raw["quantization_config"]
    assert ModelConfig.from_hf(raw) == config


@pytest.mark.parametrize("scaling", [None, LINEAR, LLAMA3], ids=["plain", "linear", "llama3"])
@pytest.mark.parametrize("family", ARCHITECTURES)
def test_what_is_written_is_read_back_equal_and_by_transformers_to_the_same_values(
    family: str,
    scaling: dict[str, Any] | None,
    tmp_path: Path,
    transformers: ModuleType,
    make_config: Callable[..., ModelConfig],
) -> None:
    rotary = {} if family == "gpt2" else {**CHANGED_ROPE, "rope_scaling": scaling}
    config = make_config(family, **CHANGED, **rotary)
    written = config.to_hf()
    (tmp_path / "config.json").write_text(json.dumps(written))
    assert ModelConfig.from_hf(json.loads((tmp_path / "config.json").read_text())) == config
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    assert theirs.architectures == [ARCHITECTURES[family]]
    names = NAMES_OF_GPT2 if family == "gpt2" else NAMES_OF_LLAMA
    assert {key: getattr(theirs, key) for key in names.values()} == {
        key: getattr(config, field) for field, key in names.items()
    }
    assert theirs.eos_token_id == [5, 6]
    assert str(theirs.dtype) == "torch.bfloat16"
    if family != "gpt2":
        assert theirs.rope_parameters == {
            "rope_theta": 54_321.0,
            **(scaling or {"rope_type": "default"}),
        }
        assert getattr(theirs, "sliding_window", None) is None
    assert ModelConfig.from_hf(theirs.to_dict()) == config


@pytest.mark.parametrize("biased", [False, True])
def test_biases_are_written_and_read_where_the_family_has_the_choice(
    biased: bool, transformers: ModuleType, make_config: Callable[..., ModelConfig]
) -> None:
    attention = {"attention_bias": biased, "output_bias": biased}
    for family, fields in (("llama", attention), ("llama", {"mlp_bias": biased}), ("qwen3", attention)):
        config = make_config(family, **fields)
        theirs = transformers.AutoConfig.for_model(**config.to_hf())
        assert getattr(theirs, next(iter(fields))) is biased
        assert ModelConfig.from_hf(config.to_hf()) == config


def test_sinusoidal_positions_are_told_by_a_key_that_transformers_passes_over(
    transformers: ModuleType, make_config: Callable[..., ModelConfig]
) -> None:
    config = make_config("gpt2", position="sinusoidal")
    assert config.to_hf()["position_embedding_type"] == "sinusoidal"
    assert ModelConfig.from_hf(transformers.AutoConfig.for_model(**config.to_hf()).to_dict()) == config
    assert "position_embedding_type" not in make_config("gpt2").to_hf()


@pytest.mark.parametrize(
    ("keys", "theta", "scaling"),
    [
        ({"rope_theta": 5e5}, 5e5, None),
        ({"rope_theta": 5e5, "rope_scaling": None}, 5e5, None),
        ({"rope_theta": 5e5, "rope_scaling": LINEAR}, 5e5, LINEAR),
        ({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}}, 5e5, LINEAR),
        ({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, 5e5, None),
        ({"rope_parameters": {"rope_theta": 5e5, **LINEAR}}, 5e5, LINEAR),
        ({"rope_parameters": {"rope_theta": 5e5, **LLAMA3}, "rope_theta": 7.0}, 5e5, LLAMA3),
        ({"rope_parameters": LINEAR, "rope_theta": 5e5}, 5e5, LINEAR),
        # where the two disagree, transformers goes by the older
        (
            {"rope_parameters": {"rope_theta": 7.0, "rope_type": "default"}, "rope_scaling": LINEAR},
            1e4,
            LINEAR,
        ),
    ],
)
def test_rope_is_read_from_the_keys_of_both_releases_as_transformers_does(
    keys: dict[str, Any], theta: float, scaling: dict[str, Any] | None, transformers: ModuleType
) -> None:
    ours = _read("llama", **keys)
    assert (ours.rope_theta, ours.rope_scaling) == (theta, scaling)
    theirs = transformers.LlamaConfig(**MINIMAL, **json.loads(json.dumps(keys))).rope_parameters
    found = {key: value for key, value in theirs.items() if key != "type"}
    assert found == {"rope_theta": theta, **(scaling or {"rope_type": "default"})}


def test_llama3_scaling_without_its_old_context_takes_the_context() -> None:
    keys = {key: value for key, value in LLAMA3.items() if key != "original_max_position_embeddings"}
    config = _read("llama", rope_scaling=keys, max_position_embeddings=512)
    assert config.rope_scaling == {**keys, "original_max_position_embeddings": 512}


def test_null_and_a_list_are_special_ids_too() -> None:
    config = _read("llama", bos_token_id=None, eos_token_id=[3, 4])
    assert (config.bos_token_id, config.eos_token_id) == (None, (3, 4))
    assert _read("llama", eos_token_id=None).eos_token_ids == ()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"model_type": "lama"}, "model_type 'lama' is not supported"),
        ({"model_type": ["llama"]}, r"model_type \['llama'\] is not supported"),
        ({"hidden_size": None}, "no 'hidden_size'"),
        ({"vocab_size": "64"}, "vocab_size is not a whole number"),
        ({"num_hidden_layers": True}, "num_hidden_layers is not a whole number"),
        ({"head_dim": 2.0}, "head_dim is not a whole number"),
        ({"rms_norm_eps": "1e-5"}, "rms_norm_eps is not a number"),
        ({"tie_word_embeddings": "false"}, "tie_word_embeddings is not true or false"),
        ({"attention_bias": 0}, "attention_bias is not true or false"),
        ({"hidden_act": ["silu"]}, "hidden_act is not a string"),
        ({"eos_token_id": [1, "2"]}, "eos_token_id is not a whole number"),
        ({"pad_token_id": "0"}, "pad_token_id is not a whole number"),
        ({"rope_theta": "big"}, "rope_theta is not a number"),
        ({"rope_theta": float("inf")}, "rope_theta is not a number"),
        ({"rope_scaling": "linear"}, "rope_scaling is not an object"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is not a whole number from 1"),
        ({"num_key_value_heads": 5}, r"num_attention_heads \(32\) is not a multiple of num_key_value_heads"),
        ({"rope_scaling": {"rope_type": "linear"}}, "rope_type linear lacks factor"),
        ({"rope_scaling": {"rope_type": "linear", "factor": "2"}}, "factor is not a number"),
        (
            {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "beta": 1.0}},
            "beta",
        ),
        ({"rope_parameters": {"rope_type": "dynamic"}}, "rope_type dynamic lacks factor"),
        ({"partial_rotary_factor": 0.5}, r"partial_rotary_factor \(0.5\) is not known for model_type llama"),
        (
            {"rope_parameters": {"partial_rotary_factor": 0.5}},
            "rope_parameters is not without a partial_rotary_factor",
        ),
    ],
)
def test_a_key_that_is_missing_wrong_or_beyond_us_is_named_with_its_file(
    keys: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=f"^there: .*{words}"):
        ModelConfig.from_hf({"model_type": "llama", **MINIMAL, **keys}, source="there")


def test_a_family_near_to_ours_is_guessed() -> None:
    with pytest.raises(ConfigError) as caught:
        _read("lama")
    assert caught.value.hint == "did you mean llama?"


def test_a_published_model_of_another_family_is_taken_for_no_slip_of_the_pen() -> None:
    # read as mistral it would run, and write another text than its own
    with pytest.raises(ConfigError, match="'ministral' is not supported") as caught:
        _read("ministral", architectures=["MinistralForCausalLM"])
    assert caught.value.hint == "use a model of one of these families"


def test_keys_are_written_in_the_forms_of_both_releases(make_config: Callable[..., ModelConfig]) -> None:
    config = make_config()
    written = fields_to_hf(vars(config))
    assert written == config.to_hf()
    assert (written["transformers_version"], written["use_cache"]) == (FORMAT_VERSION, True)
    assert written["rope_parameters"] == {"rope_theta": 1e4, "rope_type": "default"}
    assert (written["rope_theta"], written["rope_scaling"]) == (1e4, None)
    assert ModelConfig(**fields_from_hf(written, "there")) == config


def test_a_text_model_inside_an_unknown_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="there: text_config"):
        ModelConfig.from_hf({"model_type": "llava", "text_config": MINIMAL}, source="there")


def test_dynamic_scaling_of_a_stretched_context_is_itself_when_read_again(
    minimal: Callable[[str], dict[str, Any]],
) -> None:
    original = {"original_max_position_embeddings": 16}
    for family in ("llama", "phi3", "gemma3_text", "deepseek_v3"):
        config = ModelConfig.from_hf(minimal(family))
        scaling = {"rope_type": "dynamic", "factor": 4.0, **original}
        stretched = replace(config, max_position_embeddings=64, rope_scaling=scaling)
        assert ModelConfig.from_hf(stretched.to_hf()) == stretched, family
        plain = replace(config, max_position_embeddings=16, rope_scaling=scaling)
        assert ModelConfig.from_hf(plain.to_hf()) == plain


def test_kimi_k2_is_a_deepseek_v3_by_another_name() -> None:
    published = {
        **{"n_routed_experts": 12, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "n_group": 1},
        **{"topk_group": 1, "first_k_dense_replace": 1, "scoring_func": "sigmoid", "topk_method": "noaux_tc"},
        **{"num_nextn_predict_layers": 0, "ep_size": 1, "aux_loss_alpha": 0.001, "seq_aux": True},
    }
    config = _read("kimi_k2", **published)
    assert config == _read("deepseek_v3", **published) and config.to_hf()["model_type"] == "deepseek_v3"


def test_mistral3_holds_a_mistral_and_a_language_model_that_is_another_is_named() -> None:
    inner = {**MINIMAL, "model_type": "mistral", "sliding_window": None, "rope_theta": 1e9}
    config = ModelConfig.from_hf({"model_type": "mistral3", "text_config": inner, "torch_dtype": "bfloat16"})
    assert (config.model_type, config.rope_theta, config.dtype) == ("mistral", 1e9, "bfloat16")
    unnamed = {key: value for key, value in inner.items() if key != "model_type"}
    assert ModelConfig.from_hf({"model_type": "mistral3", "text_config": unnamed}).model_type == "mistral"
    with pytest.raises(ConfigError, match="model_type 'ministral' is not supported"):
        ModelConfig.from_hf({"model_type": "mistral3", "text_config": {**inner, "model_type": "ministral"}})


def test_ministral3_says_how_its_queries_grow() -> None:
    config = _read("ministral3", max_position_embeddings=262_144)
    assert (config.max_position_embeddings, config.query_growth) == (262_144, 0.1)
    assert config.query_growth_positions == 16_384 and config.rope_scaling is not None
    written = config.to_hf()
    assert written["rope_parameters"] == written["rope_scaling"] | {"rope_theta": 1e6}
    assert written["rope_parameters"]["llama_4_scaling_beta"] == 0.1
    assert ModelConfig.from_hf(written) == config
    assert ModelConfig.from_hf({"model_type": "mistral3", "text_config": written}) == config


def test_ministral3_may_grow_without_a_scaling_and_says_what_it_lacks() -> None:
    growth = {"llama_4_scaling_beta": 0.2, "original_max_position_embeddings": 30}
    for kind in ({"rope_type": "default"}, {"rope_type": "linear", "factor": 2.0}):
        config = _read("ministral3", rope_parameters={"rope_theta": 5e4, **kind, **growth})
        assert (config.query_growth, config.query_growth_positions, config.rope_theta) == (0.2, 30, 5e4)
        assert ModelConfig.from_hf(config.to_hf()) == config
    for missing in growth:
        left = {key: growth[key] for key in growth if key != missing}
        with pytest.raises(ConfigError, match=f"rope_parameters .* as {missing}"):
            _read("ministral3", rope_parameters={"rope_type": "default", **left})
    with pytest.raises(ConfigError, match="of at least 0 as llama_4_scaling_beta"):
        _read("ministral3", rope_parameters={**growth, "llama_4_scaling_beta": -0.1})
