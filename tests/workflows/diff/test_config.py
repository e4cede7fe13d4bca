"""Configs of models and adapters."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError, MissingError
from llmkit.workflows.diff.config import OneSided, diff_adapter_configs, diff_model_configs

CONFIG = {"model_type": "llama", "hidden_size": 8, "rope_theta": 1e4, "torch_dtype": "float32"}


def write(folder: Path, **files: dict[str, Any]) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_planted_differences_are_found_by_key(tmp_path: Path) -> None:
    a = write(tmp_path / "a", config=CONFIG, generation_config={"eos_token_id": 1})
    b = write(tmp_path / "b", config=CONFIG | {"hidden_size": 16}, generation_config={"eos_token_id": [1, 2]})
    found = diff_model_configs(a, b)
    assert not found.same and found.files == ["config.json", "generation_config.json"]
    assert [(one.file, one.key, one.a, one.b) for one in found.keys] == [
        ("config.json", "hidden_size", 8, 16),
        ("generation_config.json", "eos_token_id", 1, [1, 2]),
    ]
    assert diff_model_configs(a, a).same


def test_the_other_form_of_a_config_is_the_same_and_said_to_be_one(tmp_path: Path) -> None:
    new = {"model_type": "llama", "hidden_size": 8, "dtype": "float32"}
    new["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e4}
    found = diff_model_configs(write(tmp_path / "a", config=CONFIG), write(tmp_path / "b", config=new))
    assert found.same and found.moved is not None
    assert (found.moved.a, found.moved.b) == (["torch_dtype", "rope_theta"], ["dtype", "rope_parameters"])


def test_who_wrote_a_file_does_not_count(tmp_path: Path) -> None:
    a = write(tmp_path / "a", config=CONFIG | {"transformers_version": "4.40.0", "_name_or_path": "x"})
    found = diff_model_configs(a, write(tmp_path / "b", config=CONFIG | {"transformers_version": "5.1.0"}))
    assert found.same and [one.key for one in found.remarks] == ["transformers_version", "_name_or_path"]


def test_a_file_of_one_side_only_is_a_difference(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", config=CONFIG), write(tmp_path / "b", config=CONFIG, generation_config={})
    found = diff_model_configs(a, b)
    assert not found.same and found.missing == [OneSided(file="generation_config.json", only="b")]
    c = write(tmp_path / "c", generation_config={})
    assert diff_model_configs(b, c).missing == [OneSided(file="config.json", only="a")]


def test_a_dtype_may_be_left_out_of_account(tmp_path: Path) -> None:
    a = write(tmp_path / "a", config=CONFIG)
    b = write(tmp_path / "b", config=CONFIG | {"torch_dtype": "bfloat16"})
    assert [one.key for one in diff_model_configs(a, b).keys] == ["dtype"]
    assert diff_model_configs(a, b, any_dtype=True).same


def test_a_file_stands_against_a_folder(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", config=CONFIG), write(tmp_path / "b", config=CONFIG, generation_config={})
    assert diff_model_configs(a / "config.json", b).same  # generation_config.json is no part of a file


def test_no_config_or_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a"), write(tmp_path / "b")
    with pytest.raises(MissingError, match=r"config\.json"):
        diff_model_configs(a, b)
    (a / "config.json").write_text("{")
    with pytest.raises(DataError, match="not a JSON object"):
        diff_model_configs(a, b)


def test_the_order_of_an_adapters_target_modules_does_not_count(tmp_path: Path) -> None:
    a = write(tmp_path / "a", adapter_config={"r": 8, "target_modules": ["q_proj", "v_proj"]})
    b = write(tmp_path / "b", adapter_config={"r": 8, "target_modules": ["v_proj", "q_proj"]})
    c = write(tmp_path / "c", adapter_config={"r": 16, "target_modules": ["q_proj"]})
    assert diff_adapter_configs(a, b).same
    assert [one.key for one in diff_adapter_configs(a, c).keys] == ["r", "target_modules"]
