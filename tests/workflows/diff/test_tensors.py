"""Two sets of tensors with planted differences, and models that transformers saved twice."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from llmkit.errors import UsageError
from llmkit.formats.model_folder import read_header, read_tensors
from llmkit.workflows.diff.options import DiffConfig
from llmkit.workflows.diff.tensors import TensorsDiff, TiedHead, Weights, diff_tensors

Arrays = dict[str, np.ndarray[Any, Any]]


def weights(path: Path, arrays: Arrays, tied: bool | None = None) -> Weights:
    save_file(arrays, path)
    return Weights(read_header(path).tensors, tied)


def arrays() -> Arrays:
    random = np.random.default_rng(5)
    names = ("model.embed_tokens.weight", "model.layers.0.up.weight", "model.norm.weight")
    return {name: random.normal(size=(6, 4)).astype("f4") for name in names}


def compared(folder: Path, a: Arrays, b: Arrays, **config: Any) -> TensorsDiff:
    return diff_tensors(weights(folder / "a", a), weights(folder / "b", b), DiffConfig(**config))


def test_equal_tensors_are_the_same_whatever_their_order_in_the_file(tmp_path: Path) -> None:
    a = arrays()
    found = compared(tmp_path, a, dict(reversed(a.items())))
    assert found.same and found.in_both == 3 and found.values == 72
    assert (found.differing_values, found.max_abs, found.max_tensor, found.changed) == (0, 0.0, None, [])


def test_each_planted_difference_is_named(tmp_path: Path) -> None:
    a = arrays()
    b = {name: array.copy() for name, array in a.items() if "norm" not in name}
    b["extra.weight"] = np.zeros((2, 3), "f4")
    b["model.embed_tokens.weight"] = b["model.embed_tokens.weight"].reshape(4, 6)
    b["model.layers.0.up.weight"][1, 2] += 1
    found = compared(tmp_path, a, b)
    assert [one.name for one in found.only_a] == ["model.norm.weight"]
    assert [(one.name, one.dtype, one.shape) for one in found.only_b] == [("extra.weight", "F32", [2, 3])]
    shape, values = sorted(found.changed, key=lambda one: one.a.name)
    assert shape.differs_in == ["shape"] and (shape.a.shape, shape.b.shape) == ([6, 4], [4, 6])
    assert shape.values is None
    assert values.differs_in == ["values"] and values.values is not None and values.values.at == [1, 2]
    assert found.values == 24 and found.differing_values == 1
    assert found.max_tensor == "model.layers.0.up.weight" and found.max_abs == pytest.approx(1, abs=1e-6)


def test_another_dtype_is_a_difference_unless_it_is_said_not_to_be(tmp_path: Path) -> None:
    a = {"x": np.array([1.0, 2.0], "f4"), "y": np.array([1.0, 2.0], "f4")}
    b = {"x": np.array([1.0, 2.0], "f2"), "y": np.array([1.0, 2.001], "f2")}
    found = compared(tmp_path, a, b)
    assert [one.differs_in for one in found.changed] == [["dtype"], ["dtype", "values"]]
    relaxed = compared(tmp_path, a, b, any_dtype=True)
    assert [(one.a.name, one.differs_in) for one in relaxed.changed] == [("y", ["values"])]
    assert compared(tmp_path, a, b, any_dtype=True, atol=0.01).same


def test_within_the_tolerance_is_the_same_and_the_largest_difference_is_still_told(tmp_path: Path) -> None:
    a, b = arrays(), arrays()
    b["model.norm.weight"] += np.float32(1e-4)
    found = compared(tmp_path, a, b, atol=1e-3)
    assert found.same and found.max_tensor == "model.norm.weight"
    assert found.max_abs == pytest.approx(1e-4, rel=1e-2)
    assert not compared(tmp_path, a, b, atol=1e-5).same


def test_headers_read_no_value(tmp_path: Path) -> None:
    a, b = arrays(), {name: array + 1 for name, array in arrays().items()}
    found = compared(tmp_path, a, b, headers=True)
    assert found.same and found.in_both == 3
    assert (found.values, found.differing_values, found.max_abs) == (None, None, None)


def test_patterns_choose_tensors_and_one_that_matches_none_is_wrong_usage(tmp_path: Path) -> None:
    a, b = arrays(), {name: array + 1 for name, array in arrays().items()}
    found = compared(tmp_path, a, b, patterns=("*norm*", "*.embed_tokens.*"))
    assert [one.a.name for one in found.changed] == ["model.embed_tokens.weight", "model.norm.weight"]
    assert found.in_both == 2
    with pytest.raises(UsageError, match="bias"):
        compared(tmp_path, a, b, patterns=("*norm*", "*bias*"))


def test_behind_a_prefix_values_are_compared_and_the_names_still_differ(tmp_path: Path) -> None:
    a = arrays()
    b = {name.removeprefix("model."): array.copy() for name, array in a.items()}
    found = compared(tmp_path, a, b)
    assert not found.same and found.changed == [] and found.in_both == 3
    assert found.prefix is not None and (found.prefix.a, found.prefix.b) == ("model.", "")
    b["norm.weight"][0, 0] = 9
    (changed,) = compared(tmp_path, a, b).changed
    assert (changed.a.name, changed.b.name) == ("model.norm.weight", "norm.weight")


def test_a_head_that_is_the_embedding_is_no_difference(tmp_path: Path) -> None:
    a = arrays()
    embedding = a["model.embed_tokens.weight"]
    b = {**a, "lm_head.weight": embedding.copy()}
    found = compared(tmp_path, a, b)
    assert found.same and found.only_b == []
    assert found.tied == [
        TiedHead(name="lm_head.weight", only="b", embedding="model.embed_tokens.weight", checked=True)
    ]
    assert compared(tmp_path, b, a).tied[0].only == "a"
    b["lm_head.weight"][0, 0] += 1
    other = compared(tmp_path, a, b)
    assert not other.same and other.tied == [] and [one.name for one in other.only_b] == ["lm_head.weight"]


def test_a_head_is_not_taken_for_tied_where_the_other_config_says_untied(tmp_path: Path) -> None:
    a = arrays()
    b = {**a, "lm_head.weight": a["model.embed_tokens.weight"].copy()}
    found = diff_tensors(weights(tmp_path / "a", a, tied=False), weights(tmp_path / "b", b), DiffConfig())
    assert not found.same and found.tied == []


def test_without_values_a_tie_needs_the_word_of_the_other_config(tmp_path: Path) -> None:
    a = arrays()
    b = {**a, "lm_head.weight": a["model.embed_tokens.weight"] + 1}
    headers = DiffConfig(headers=True)
    stored = weights(tmp_path / "b", b)
    said = diff_tensors(weights(tmp_path / "a", a, tied=True), stored, headers)
    assert said.same and [tie.checked for tie in said.tied] == [False]
    assert not diff_tensors(weights(tmp_path / "a", a), stored, headers).same


@pytest.fixture(scope="module")
def network() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=False,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def saved(network: LlamaForCausalLM, folder: Path, **settings: Any) -> Weights:
    network.save_pretrained(folder, **settings)
    return Weights(read_tensors(folder))


def test_sharded_and_whole_are_the_same(network: LlamaForCausalLM, tmp_path: Path) -> None:
    whole = saved(network, tmp_path / "whole")
    sharded = saved(network, tmp_path / "sharded", max_shard_size="20KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    found = diff_tensors(whole, sharded, DiffConfig())
    assert found.same
    assert found.values == sum(one.numel() for one in network.state_dict().values())


def test_a_cast_model_differs_by_what_torch_says(network: LlamaForCausalLM, tmp_path: Path) -> None:
    first = saved(network, tmp_path / "f32")
    state = {name: one.clone() for name, one in network.state_dict().items()}
    cast = LlamaForCausalLM(network.config)
    cast.load_state_dict(state)
    second = saved(cast.to(torch.bfloat16), tmp_path / "bf16")
    found = diff_tensors(first, second, DiffConfig())
    gaps = {name: (one.double() - one.bfloat16().double()).abs() for name, one in state.items()}
    assert {one.a.name for one in found.changed} == set(gaps)
    for one in found.changed:
        gap = gaps[one.a.name]
        assert one.differs_in[0] == "dtype" and one.values is not None
        assert one.values.max_abs == gap.max().item()
        assert one.values.differing == int((gap > 0).sum())
        assert one.values.mean_abs == pytest.approx(gap.mean().item(), rel=1e-12)
    assert diff_tensors(first, second, DiffConfig(any_dtype=True, rtol=2**-8)).same
    assert not diff_tensors(first, second, DiffConfig(any_dtype=True, rtol=2**-10)).same


def test_progress_ends_within_the_bytes_of_both(tmp_path: Path) -> None:
    seen: list[tuple[float, float | None]] = []

    class Listener:
        def update(self, done: float, total: float | None = None, **fields: float | str) -> None:
            seen.append((done, total))

        def note(self, message: str) -> None:
            raise AssertionError(message)

    a = arrays()
    both = weights(tmp_path / "a", a), weights(tmp_path / "b", a)
    diff_tensors(*both, DiffConfig(), progress=Listener())
    assert seen == [(0, 576), (192, 576), (384, 576)]  # 3 tensors of 24 values, 4 bytes, on two sides
