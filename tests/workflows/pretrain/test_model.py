"""Which model is trained: shapes that fit the data, weights that are kept, flags that would break them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llmkit.errors import ConfigError, DataError, UsageError
from llmkit.model.config import ModelConfig
from llmkit.model.load import load_model
from llmkit.model.presets import PRESETS
from llmkit.model.save import file_tensors, save_model
from llmkit.model.transformer import Transformer
from llmkit.workflows.pretrain.data import PretrainData
from llmkit.workflows.pretrain.model import ModelSource, build_model, choose_model

CPU = torch.device("cpu")
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}
DATA = PretrainData([], 16, 40, "d", "t", None, {}, {})  # type: ignore[arg-type]  # 40 ids, rows of 16
GPT2: dict[str, Any] = {
    **{"model_type": "gpt2", "norm": "layer", "position": "learned", "attention_bias": True},
    **{"output_bias": True, "mlp_bias": True, "gated_mlp": False, "hidden_act": "gelu_new"},
    "num_key_value_heads": 2,
}


def _choose(folder: Path | None = None, *, data: PretrainData = DATA, **overrides: Any) -> ModelSource:
    return choose_model("tiny", folder, overrides, data, IDS)


def test_a_preset_takes_the_datas_vocabulary_rows_and_special_ids() -> None:
    config, tiny = _choose().config, PRESETS["tiny"]
    assert (config.vocab_size, config.max_position_embeddings) == (40, 16)
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, 2, None)
    assert (config.dtype, config.initializer_range) == ("float32", 0.0619)  # 0.7 / sqrt(128), three digits
    shape = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    assert [getattr(config, name) for name in shape] == [getattr(tiny, name) for name in shape]


def test_flags_come_before_what_fits_the_data() -> None:
    config = _choose(
        vocab_size=64, max_position_embeddings=99, hidden_size=256, initializer_range=0.5, bos_token_id=7
    ).config
    assert (config.vocab_size, config.max_position_embeddings, config.bos_token_id) == (64, 99, 7)
    assert (config.hidden_size, config.head_dim, config.initializer_range) == (256, 64, 0.5)
    assert _choose(hidden_size=256).config.initializer_range == 0.0437  # 0.7 / 16, three digits


def test_a_vocabulary_smaller_than_the_datas_is_refused(tiny_model: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="the model: a vocabulary of 39, but the data has 40 ids"):
        _choose(vocab_size=39)
    with pytest.raises(DataError, match=r"model: a vocabulary of 39, but the data has 40 ids"):
        _choose(tiny_model(vocab_size=39))


def test_weights_are_trained_on_at_longer_positions_and_a_fresh_model_is_not_stretched(
    tiny_model: Callable[..., Path],
) -> None:
    folder = tiny_model(vocab_size=40, max_position_embeddings=16)
    source = choose_model("tiny", folder, {}, DATA, IDS, "linear:3")
    assert (source.config.max_position_embeddings, source.rope_scaling) == (
        *(48, {"rope_type": "linear", "factor": 3.0}),
    )
    model = build_model(source, 0, CPU)
    expected = load_model(folder, dtype=torch.float32, rope_scaling=source.rope_scaling)
    ids = torch.arange(40)[None]
    with torch.no_grad():
        torch.testing.assert_close(model(ids), expected(ids), rtol=0, atol=0)
    for fresh in (None, folder / "config.json"):
        with pytest.raises(UsageError, match="stretches a model that was trained"):
            choose_model("tiny", fresh, {}, DATA, IDS, "linear:3")


def test_no_such_preset_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="tinny") as caught:
        choose_model("tinny", None, {}, DATA, IDS)
    assert caught.value.hint == "did you mean tiny?"


@pytest.mark.parametrize("form", ["file", "folder"])
def test_a_config_alone_gives_its_shape_and_fresh_weights(tiny_model: Callable[..., Path], form: str) -> None:
    folder = tiny_model(rope_theta=777.0)
    (folder / "model.safetensors").unlink()
    source = _choose(folder if form == "folder" else folder / "config.json")
    assert (source.weights, source.weights_sha256) == (None, None)
    config = source.config
    assert (config.hidden_size, config.num_key_value_heads, config.rope_theta) == (8, 1, 777.0)
    assert (config.vocab_size, config.max_position_embeddings) == (40, 16)
    assert config.initializer_range == 0.247  # 0.7 / sqrt(8), three digits


def test_what_a_shape_derives_from_its_width_follows_the_flag(tiny_model: Callable[..., Path]) -> None:
    grouped = tiny_model("grouped") / "config.json"  # 2 heads of 4 in a width of 8, one key/value head
    assert _choose(grouped, hidden_size=16).config.head_dim == 8
    assert _choose(grouped, num_attention_heads=4).config.num_key_value_heads == 1
    plain = tiny_model("plain", num_key_value_heads=2) / "config.json"
    assert _choose(plain, num_attention_heads=4).config.num_key_value_heads == 4
    assert _choose(plain, num_attention_heads=4, num_key_value_heads=2).config.num_key_value_heads == 2
    wide = tiny_model("wide", head_dim=6) / "config.json"  # 2 heads of 6 are not the width
    assert _choose(wide, hidden_size=16).config.head_dim == 6


def test_a_folder_with_weights_is_gone_on_with_and_known_by_their_bytes(
    tiny_model: Callable[..., Path],
) -> None:
    folder = tiny_model("m", initializer_range=0.123)
    source = _choose(folder)
    assert source.weights == folder
    assert (source.config.vocab_size, source.config.max_position_embeddings) == (48, 32)  # its own
    assert source.config.initializer_range == 0.123
    copy = tiny_model("copy", initializer_range=0.123)
    assert _choose(copy).weights_sha256 == source.weights_sha256 is not None
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert _choose(folder).weights_sha256 != source.weights_sha256


@pytest.mark.parametrize(
    "override",
    [{"hidden_size": 16}, {"num_hidden_layers": 3}, {"vocab_size": 64}, {"tie_word_embeddings": False}],
)
def test_a_flag_that_would_change_kept_weights_is_refused(
    tiny_model: Callable[..., Path], override: dict[str, Any]
) -> None:
    folder = tiny_model()
    ((name, _),) = override.items()
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} .* would change the weights") as caught:
        _choose(folder, **override)
    assert f"--model {folder / 'config.json'}" in caught.value.hint
    own = getattr(ModelConfig.from_hf(json.loads((folder / "config.json").read_text())), name)
    assert getattr(_choose(folder, **{name: own}).config, name) == own  # saying what is so is no change


def test_rotary_positions_can_be_stretched_and_learned_ones_cannot(tiny_model: Callable[..., Path]) -> None:
    config = _choose(tiny_model("rope"), max_position_embeddings=4096, rope_theta=5e5).config
    assert (config.max_position_embeddings, config.rope_theta) == (4096, 5e5)
    gpt2 = tiny_model("gpt2", **GPT2)
    with pytest.raises(UsageError, match="--max-position-embeddings 64 would change the weights"):
        _choose(gpt2, max_position_embeddings=64)


def test_fresh_weights_are_those_of_the_seed() -> None:
    source = ModelSource(_choose().config, None, None)
    one, same, other = (build_model(source, seed, CPU).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["model.embed_tokens.weight"], other["model.embed_tokens.weight"])
    std = one["model.embed_tokens.weight"].std().item()
    assert std == pytest.approx(0.0619, rel=0.05)


def test_gpt2s_weights_come_back_under_their_own_names(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model(**GPT2)
    stored = load_file(folder / "model.safetensors")
    found = dict(file_tensors(build_model(_choose(folder), 0, CPU)))
    assert found.keys() == stored.keys()
    assert all(torch.equal(found[name], stored[name]) for name in stored)


def test_kept_weights_are_the_folders_in_float32_under_the_chosen_config(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tiny_model()
    stored = load_file(folder / "model.safetensors")
    model = build_model(_choose(folder, rope_theta=5e5), 0, CPU)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in stored.items())
    assert (model.config.rope_theta, model.config.dtype) == (5e5, "float32")
    half = tmp_path / "half"
    half.mkdir()
    save_model(model, half, dtype=torch.bfloat16)
    again = build_model(_choose(half), 0, CPU)
    assert {weight.dtype for weight in again.parameters()} == {torch.float32}
    assert again.config == model.config


def test_stretched_positions_are_computed_with(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model()
    ids = torch.arange(20)[None] % 48
    plain = build_model(_choose(folder), 0, CPU).eval()
    other = build_model(_choose(folder, rope_theta=20.0), 0, CPU).eval()
    expected = Transformer(replace(plain.config, rope_theta=20.0)).eval()
    expected.load_state_dict(plain.state_dict())
    with torch.no_grad():
        assert torch.equal(other(ids), expected(ids))
        assert not torch.allclose(other(ids), plain(ids))
