"""Each way to break an adapter has its finding, and a whole one has none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from llmkit.formats.model_folder import read_tensors
from llmkit.workflows.doctor.adapter import check_adapter

_Q0 = "base_model.model.model.layers.0.self_attn.q_proj"


def _checks(folder: Path, base: Path | None = None) -> set[tuple[str, str]]:
    tensors = None if base is None else read_tensors(base)
    return {(one.level, one.check) for one in check_adapter(folder, tensors)}


def test_a_whole_adapter_has_no_findings(
    tiny_adapter: Callable[..., Path], tiny_model: Callable[..., Path]
) -> None:
    assert _checks(tiny_adapter(), tiny_model()) == set()


def test_half_a_pair_is_found(tiny_adapter: Callable[..., Path]) -> None:
    assert _checks(tiny_adapter(drop=f"{_Q0}.lora_B.weight")) == {("error", "adapter.pair")}


def test_another_rank_than_the_config_says_is_found(tiny_adapter: Callable[..., Path]) -> None:
    assert _checks(tiny_adapter(r=16)) == {("error", "adapter.rank")}


def test_a_rank_of_its_own_for_a_module_is_none(tiny_adapter: Callable[..., Path]) -> None:
    assert _checks(tiny_adapter(r=16, rank_pattern={"q_proj": 2, "v_proj": 2})) == set()


def test_a_target_without_tensors_is_found(tiny_adapter: Callable[..., Path]) -> None:
    folder = tiny_adapter(target_modules=["q_proj", "v_proj", "o_proj"])
    assert _checks(folder) == {("warning", "adapter.targets")}


def test_an_adapter_of_another_model_is_found(
    tiny_adapter: Callable[..., Path], tiny_model: Callable[..., Path]
) -> None:
    assert _checks(tiny_adapter("wide", width=16), tiny_model("a")) == {("error", "adapter.base")}
    assert _checks(tiny_adapter("deep"), tiny_model("b", num_hidden_layers=1)) == {("error", "adapter.base")}


def test_values_that_are_not_finite_are_found(tiny_adapter: Callable[..., Path]) -> None:
    folder = tiny_adapter()
    path = folder / "adapter_model.safetensors"
    save_file(load_file(path) | {f"{_Q0}.lora_B.weight": np.full((8, 2), np.nan, "f4")}, path)
    assert _checks(folder) == {("error", "weights.finite")}


def test_missing_weights_are_found(tiny_adapter: Callable[..., Path]) -> None:
    folder = tiny_adapter()
    (folder / "adapter_model.safetensors").unlink()
    assert _checks(folder) == {("error", "adapter.files")}
