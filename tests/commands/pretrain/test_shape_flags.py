"""Keys of config.json as flags."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from llmkit.commands.pretrain.shape_flags import Shape
from llmkit.model.config import ModelConfig
from llmkit.model.presets import preset


def test_what_is_not_said_leaves_the_preset_alone_and_a_nought_is_said() -> None:
    assert Shape().overrides() == {}
    said = Shape(hidden_size=64, tie_word_embeddings=False, rope_theta=0.0)
    assert said.overrides() == {"hidden_size": 64, "tie_word_embeddings": False, "rope_theta": 0.0}


def test_every_flag_is_a_key_that_a_run_writes_into_its_config(
    llmkit_run: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "t.txt").write_text("a b c d e f g h " * 40)
    said = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 4}
    flags = [word for name, value in said.items() for word in (f"--{name.replace('_', '-')}", value)]
    run = ["pretrain", "--data", tmp_path / "t.txt", "-o", tmp_path / "run", "--steps", 1, "--seq-len", "16"]
    tokenizer = ["train-tokenizer", tmp_path / "t.txt", "--vocab-size", 260, "-o", tmp_path / "tok", "-q"]
    assert llmkit_run(*tokenizer).status == 0
    done = llmkit_run(*run, "-t", tmp_path / "tok", *flags, "-q")
    assert done.status == 0, done.err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert {name: config[name] for name in said} == said


def test_the_flags_are_those_that_a_preset_takes() -> None:
    shapes = {one.name for one in fields(Shape)} - {"model_type", "initializer_range"}
    known = {one.name for one in fields(ModelConfig)} | {"num_experts", "num_experts_per_tok"}
    assert shapes - known <= {"moe_intermediate_size", "final_logit_softcapping", "head_dim"}
    assert preset("tiny", hidden_size=64).hidden_size == 64
