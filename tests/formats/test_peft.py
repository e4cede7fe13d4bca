"""adapter_config.json and names of tensors, against peft's own."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import ConfigError, DataError
from llmkit.formats.peft import (
    PeftConfig,
    parse_tensor_name,
    peft_config_bytes,
    read_peft_config,
    refused_by,
    tensor_name,
)


def _write(folder: Path, **changes: Any) -> Path:
    content = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"], **changes}
    (folder / "adapter_config.json").write_text(json.dumps(content))
    return folder


def test_what_is_written_is_read_again_by_us_and_by_peft(tmp_path: Path) -> None:
    config = PeftConfig(
        r=4, lora_alpha=32.5, use_rslora=True, target_modules=["q_proj"], rank_pattern={"k": 2}
    )
    (tmp_path / "adapter_config.json").write_bytes(peft_config_bytes(config))
    assert read_peft_config(tmp_path) == config
    peft = pytest.importorskip("peft")
    theirs = peft.LoraConfig.from_pretrained(tmp_path)
    assert (theirs.r, theirs.lora_alpha, theirs.use_rslora, theirs.rank_pattern) == (4, 32.5, True, {"k": 2})
    assert theirs.target_modules == {"q_proj"}


def test_what_a_division_leaves_is_not_written() -> None:
    config = PeftConfig(r=7, lora_alpha=32.00000000000001, alpha_pattern={"q": 15.999999999999998})
    told = json.loads(peft_config_bytes(config))
    assert (told["lora_alpha"], told["alpha_pattern"]) == (32, {"q": 16})


def test_every_key_that_peft_writes_by_default_is_understood(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    peft.LoraConfig(target_modules=["q_proj"], layers_to_transform=[1]).save_pretrained(tmp_path)
    assert read_peft_config(tmp_path).r == 8


def test_scales_follow_patterns_and_the_kind() -> None:
    config = PeftConfig(r=4, lora_alpha=8, alpha_pattern={"mlp.*proj": 2}, rank_pattern={"1.q_proj": 16})
    assert config.scale("layers.0.q_proj", 4) == 2
    assert config.scale("layers.0.mlp.up_proj", 4) == 0.5
    assert (config.rank("layers.1.q_proj"), config.rank("layers.11.q_proj")) == (16, 4)
    assert PeftConfig(r=4, lora_alpha=8, use_rslora=True).scale("q_proj", 4) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"r": 0}, ">= 1 - at `[$].r`"),
        ({"r": "8"}, "[$].r"),
        ({"lora_alpha": -1}, "lora_alpha"),
        ({"rank_pattern": {"q": "x"}}, "rank_pattern"),
    ],
)
def test_a_value_of_a_wrong_kind_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_peft_config(_write(tmp_path, **changes))


def test_no_kind_that_learns_a_prompt_is_said_to_merge(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    kinds = PEFT_TYPE_TO_CONFIG_MAPPING.items()
    prompts = {kind.value for kind, made in kinds if issubclass(made, peft.PromptLearningConfig)}
    assert {"PROMPT_TUNING", "PREFIX_TUNING"} <= prompts
    for kind in (*prompts, "ADAPTION_PROMPT", "IA3", "LOHA"):
        with pytest.raises(ConfigError) as caught:
            read_peft_config(_write(tmp_path, peft_type=kind))
        merges = kind in ("IA3", "LOHA")
        assert ("merge the adapter into its base with peft" in caught.value.hint) == merges, kind
        assert ("train a LoRA adapter instead" in caught.value.hint) != merges, kind


def test_biases_of_factors_are_merged_only_where_there_are_biases(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lora_bias is not supported") as caught:
        read_peft_config(_write(tmp_path, lora_bias=True))
    assert "without lora_bias" in caught.value.hint


@pytest.mark.parametrize(
    "changes",
    [{"peft_type": "IA3"}, {"bias": "lora_only"}, {"init_lora_weights": "olora"}, {"use_qalora": True}],
)
def test_another_kind_of_adapter_is_refused_by_its_key(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        read_peft_config(_write(tmp_path, **changes))


@pytest.mark.parametrize(
    ("name", "module", "part"),
    [
        ("base_model.model.model.layers.0.q_proj.lora_A.weight", "model.layers.0.q_proj", "A"),
        ("base_model.model.x.lora_magnitude_vector", "x", "magnitude"),
        ("base_model.model.model.embed_tokens.lora_embedding_B", "model.embed_tokens", "embedding_B"),
        ("base_model.model.model.embed_tokens.base_layer.weight", "model.embed_tokens", "base"),
        ("base_model.model.lm_head.weight", "lm_head.weight", "whole"),
    ],
)
def test_names_are_taken_apart_and_put_together(name: str, module: str, part: Any) -> None:
    assert parse_tensor_name(name) == (module, part)
    assert tensor_name(module, part) == name
    assert parse_tensor_name(name.removeprefix("base_model.model.")) == (module, part)


@pytest.mark.parametrize(
    ("config", "names", "refusing"),
    [
        ({}, ["x.lora_A.weight", "x.lora_B.weight"], set()),
        ({"use_dora": True}, ["x.lora_magnitude_vector"], {"vLLM", "llama.cpp"}),
        ({"modules_to_save": ["lm_head"]}, ["lm_head.weight"], {"vLLM", "llama.cpp"}),
        ({"use_rslora": True}, ["x.lora_A.weight"], {"llama.cpp"}),
        ({"alpha_pattern": {"x": 2}}, ["x.lora_A.weight"], {"vLLM", "llama.cpp"}),
        ({"rank_pattern": {"x": 2}}, ["x.lora_A.weight"], {"vLLM"}),
    ],
)
def test_readers_that_do_not_take_an_adapter_are_told(
    config: dict[str, Any], names: list[str], refusing: set[str]
) -> None:
    assert set(refused_by(config, names)) == refusing
