"""The two forms of config.json, against what transformers makes of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from llmkit.workflows.diff.forms import one_form, other_form
from llmkit.workflows.diff.keys import diff_keys

LLAMA3 = {
    **{"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "original_max_position_embeddings": 8192,
}
OLD_FORMS: dict[str, dict[str, Any]] = {
    "plain": {"model_type": "llama", "rope_theta": 500000.0, "rope_scaling": None},
    "llama3": {"model_type": "llama", "rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **LLAMA3}},
    "linear": {"model_type": "llama", "rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": 2.0}},
    "partial": {"model_type": "stablelm", "rope_theta": 1e4, "partial_rotary_factor": 0.25},
    "gemma3": {"model_type": "gemma3_text", "rope_theta": 1e6, "rope_local_base_freq": 1e4},
}


@pytest.mark.parametrize("name", OLD_FORMS)
def test_what_transformers_5_writes_of_an_older_config_is_the_same(name: str, tmp_path: Path) -> None:
    old = OLD_FORMS[name] | {"torch_dtype": "bfloat16"}
    (tmp_path / "config.json").write_text(json.dumps(old))
    AutoConfig.from_pretrained(tmp_path).save_pretrained(tmp_path / "new")
    new = json.loads((tmp_path / "new" / "config.json").read_text())
    assert "rope_parameters" in new and "dtype" in new and "torch_dtype" not in new  # or this shows nothing
    mine, other = one_form(old), one_form(new)
    told = {one.key: one for one in diff_keys("config.json", mine, other) if one.only != "b"}
    assert told == {}, told
    added = {key for key in other["rope_parameters"] if key not in mine["rope_parameters"]}
    assert added <= {"attention_factor", "beta_fast", "beta_slow", "partial_rotary_factor"}, added
    assert "torch_dtype" in other_form(old, new) and "dtype" in other_form(new, old)


def test_another_theta_or_another_scaling_still_differs() -> None:
    old = {"rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": 2.0}}
    new = {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 2e4}}
    found = diff_keys("f", one_form(old), one_form(new))
    assert [(one.key, one.a, one.b) for one in found] == [
        ("rope_parameters.factor", 2.0, 4.0),
        ("rope_parameters.rope_theta", 1e4, 2e4),
    ]


def test_a_config_with_both_forms_is_one_with_either() -> None:
    both = {
        **{"dtype": "float32", "torch_dtype": "torch.float32", "rope_theta": 1e4, "rope_scaling": None},
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000},
    }
    old = {"torch_dtype": "float32", "rope_theta": 1e4}
    assert one_form(both) == one_form(old) == one_form(one_form(both))


def test_forms_that_contradict_each_other_stay_apart_and_show() -> None:
    torn = {"rope_theta": 5e5, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
    assert one_form(torn)["rope_theta"] == 5e5
    torn = {"dtype": "float32", "torch_dtype": "float16"}
    assert one_form(torn) == torn


def test_a_model_without_rotary_positions_gets_none() -> None:
    assert one_form({"model_type": "gpt2", "n_embd": 8}) == {"model_type": "gpt2", "n_embd": 8}


def test_the_text_model_inside_is_brought_to_the_same_form() -> None:
    old = {"text_config": {"torch_dtype": "float16", "rope_theta": 1e4}}
    new = {
        "text_config": {"dtype": "float16", "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
    }
    assert one_form(old) == one_form(new)
    assert other_form(old, new) == ["text_config.torch_dtype", "text_config.rope_theta"]


def test_keys_are_of_another_form_only_where_the_other_side_says_the_same_by_others() -> None:
    assert other_form({"rope_theta": 1.0}, {}) == []
    assert other_form({"rope_theta": 1.0}, {"rope_theta": 2.0}) == []
    assert other_form({"torch_dtype": "a", "dtype": "a"}, {"dtype": "a"}) == ["torch_dtype"]
