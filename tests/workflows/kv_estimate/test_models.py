"""Which models an estimate is asked for: names, overrides, and flags that are a model or not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from llmkit.errors import ConfigError, MissingError, UsageError
from llmkit.estimate.cache import cache_bytes
from llmkit.estimate.cache_settings import CacheSettings
from llmkit.estimate.config import EstimateConfig
from llmkit.estimate.read_architecture import read_architecture
from llmkit.formats.model_folder import WEIGHTS
from llmkit.model.config import ModelConfig
from llmkit.model.presets import PRESETS
from llmkit.workflows.kv_estimate.kv_estimate import scheme_of
from llmkit.workflows.kv_estimate.models import ModelSources, SizedModel, read_models

CACHE = {"num_hidden_layers": 3, "num_key_value_heads": 2, "head_dim": 16}
WHOLE = {
    **{"num_hidden_layers": 3, "num_attention_heads": 4, "hidden_size": 64},
    **{"intermediate_size": 96, "vocab_size": 100},
}


def _model(**sources: Any) -> SizedModel:
    (model,) = read_models(ModelSources(**sources))
    return model


def test_a_folder_with_weights_is_their_model(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model("run")
    model = _model(paths=(folder,))
    assert (model.name, model.weights_dir, model.max_positions) == (str(folder), folder, 32)
    assert model.whole and model.architecture.num_attention_heads == 2


def test_a_head_that_a_model_for_vectors_was_saved_without_is_not_counted(
    tiny_model: Callable[..., Path],
) -> None:
    folder = tiny_model("vectors", tie_word_embeddings=False)
    with_head = _model(paths=(folder,)).architecture.parameters
    tensors = {name: one for name, one in load_file(folder / WEIGHTS).items() if name != "lm_head.weight"}
    (folder / "modules.json").write_text('[{"path": "", "type": "x.Transformer"}]')
    assert _model(paths=(folder,)).architecture.parameters == with_head
    save_file(tensors, folder / WEIGHTS)
    assert _model(paths=(folder,)).architecture.parameters == sum(one.size for one in tensors.values())


def test_another_shape_than_the_weights_have_leaves_them_out(tiny_model: Callable[..., Path]) -> None:
    model = _model(paths=(tiny_model("run"),), overrides={"num_hidden_layers": 5})
    assert model.weights_dir is None
    assert model.architecture.num_hidden_layers == 5 == len(model.architecture.caches)


def test_a_config_is_called_by_its_folder_and_another_file_by_its_own_name(
    tiny_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_model("llama")
    (tmp_path / "other.json").write_bytes((folder / "config.json").read_bytes())
    monkeypatch.chdir(folder)
    for path, name in (
        (folder / "config.json", str(folder)),
        (Path("config.json"), None),
        (Path("../llama/config.json"), "../llama"),
        (Path("../other.json"), "../other.json"),
        (Path(), None),
    ):
        model = _model(paths=(path,))
        assert model.name == name
        assert (model.weights_dir is None) == (path.name.endswith(".json"))  # a file is its shape alone


def test_paths_come_before_presets_and_each_is_changed(tiny_model: Callable[..., Path]) -> None:
    sources = ModelSources(
        paths=(tiny_model("a"), tiny_model("b")), presets=("tiny",), overrides={"vocab_size": 77}
    )
    models = list(read_models(sources))
    assert [model.name for model in models][2] == "tiny" and len(models) == 3
    assert all(model.architecture.vocab_size == 77 for model in models)


def test_a_preset_is_what_pretrain_makes_of_it() -> None:
    assert _model(presets=("gpt2",)).architecture == read_architecture(PRESETS["gpt2"].to_hf())
    changed = _model(presets=("tiny",), overrides={"hidden_size": 256}).architecture
    assert (changed.mlp_width, changed.head_dim) == (2 * 352, 64)  # they follow the width


def test_flags_of_every_size_are_a_llama() -> None:
    model = _model(overrides={**WHOLE, "num_key_value_heads": 2, "tie_word_embeddings": True})
    llama = ModelConfig(**WHOLE, num_key_value_heads=2, tie_word_embeddings=True, dtype="bfloat16")
    assert model.architecture == read_architecture(llama.to_hf()) and model.whole
    assert (model.name, model.max_positions) == (None, None)  # no flag says how long it is


@pytest.mark.parametrize(
    ("flags", "heads"),
    [
        (CACHE, None),
        ({**CACHE, "num_attention_heads": 4}, 4),
        ({**CACHE, "vocab_size": 100, "hidden_size": 999}, None),
        ({"num_hidden_layers": 3, "num_attention_heads": 2, "head_dim": 16}, 2),
        ({"num_hidden_layers": 3, "num_attention_heads": 2, "hidden_size": 32}, 2),
    ],
)
def test_flags_that_make_a_cache_are_no_whole_model(flags: dict[str, int], heads: int | None) -> None:
    model = _model(overrides=flags)
    held = cache_bytes(model.architecture, CacheSettings(), context=5)
    assert held.total == 2 * 3 * 2 * 16 * 5 * 2  # K and V, layers, heads, of 16, tokens, bytes
    assert (model.whole, model.heads_known, model.max_positions) == (False, heads is not None, None)
    assert heads is None or model.architecture.num_attention_heads == heads


@pytest.mark.parametrize(
    ("flags", "lacking"),
    [
        ({"num_key_value_heads": 2, "head_dim": 16}, "--num-hidden-layers"),
        ({"num_hidden_layers": 3, "head_dim": 16}, "--num-key-value-heads"),
        ({"num_hidden_layers": 3, "num_key_value_heads": 2}, "--head-dim"),
        ({"num_hidden_layers": 3, "num_key_value_heads": 2, "hidden_size": 32}, "--head-dim"),
        ({"vocab_size": 3}, "--num-hidden-layers, --num-key-value-heads, --head-dim"),
    ],
)
def test_too_few_flags_name_what_lacks(flags: dict[str, int], lacking: str) -> None:
    with pytest.raises(UsageError, match=f"without {lacking}$"):
        _model(overrides=flags)


@pytest.mark.parametrize(
    "flags",
    [{**CACHE, "num_attention_heads": 3}, {**CACHE, "num_hidden_layers": 0}, {**WHOLE, "head_dim": 3}],
)
def test_impossible_shapes_are_refused_whole_or_not(flags: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        _model(overrides=flags)


def test_a_path_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="nowhere: no such file"):
        _model(paths=(tmp_path / "nowhere",))


def test_what_changes_the_arithmetic_is_refused_by_its_key(tmp_path: Path) -> None:
    llama = ModelConfig(**WHOLE).to_hf()
    for key, value in {"kv_lora_rank": 512, "num_local_experts": 8, "num_kv_shared_layers": 1}.items():
        (tmp_path / "config.json").write_text(json.dumps({**llama, key: value}))
        with pytest.raises(ConfigError, match=f"config.json: {key} "):
            _model(paths=(tmp_path,))
        with pytest.raises(ConfigError, match=key):
            _model(paths=(tmp_path,), overrides={"num_hidden_layers": 2})


def test_a_safetensors_file_is_the_model_of_its_folder(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tiny_model("run")
    assert _model(paths=(folder / "model.safetensors",)) == _model(paths=(folder,))
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(MissingError, match=r"config.json: no such file; a safetensors file does not say"):
        _model(paths=(alone,))


def test_how_a_config_says_its_weights_are_quantised_is_read(shared_data: Path) -> None:
    model = _model(paths=(shared_data / "configs" / "Qwen3-30B-A3B-FP8",))
    assert scheme_of(model, EstimateConfig()).name == "fp8-block128"
    assert scheme_of(model, EstimateConfig(dtype="q8_0")).name == "q8_0"
    plain = _model(paths=(shared_data / "configs" / "Qwen3-30B-A3B",))
    assert plain.quantised is None and scheme_of(plain, EstimateConfig()).name == "bfloat16"


def test_an_unknown_quantisation_is_named_and_can_be_overruled(tmp_path: Path) -> None:
    config = ModelConfig(**WHOLE).to_hf() | {"quantization_config": {"quant_method": "magic"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = _model(paths=(tmp_path,))
    with pytest.raises(ConfigError, match="'magic'"):
        scheme_of(model, EstimateConfig())
    assert scheme_of(model, EstimateConfig(dtype="int8")).name == "int8"
