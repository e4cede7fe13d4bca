"""Weights read in turn are those of the loaded model, whichever form the files have."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llmkit.errors import DataError, MissingError
from llmkit.formats.provenance import Invocation
from llmkit.model.lazy_weights import LazyWeights
from llmkit.model.load import load_model
from llmkit.workflows.convert.convert import convert
from llmkit.workflows.convert.options import ConvertConfig
from tests.quant.small_folders import write_folders
from tests.workflows.merging import FAMILIES, write_models


def _alike(path: Path) -> None:
    lazy, loaded = LazyWeights(path), load_model(path, dtype=torch.float32).state_dict()
    assert list(lazy.shapes) == list(loaded)
    for name in reversed(list(loaded)):  # any order
        found = lazy.read([name])
        assert list(found) == [name]
        assert found[name].shape == lazy.shapes[name] and torch.equal(found[name], loaded[name]), name


@pytest.mark.parametrize("family", FAMILIES)
def test_folders_of_every_layout_are_read(family: str, tmp_path: Path) -> None:
    write_models(tmp_path, "one", **FAMILIES[family])
    _alike(tmp_path / "one")


@pytest.mark.parametrize("container", ["compressed-tensors", "awq", "gptq"])
def test_quantised_folders_become_plain_numbers(container: str, tmp_path: Path) -> None:
    write_folders(tmp_path, container)  # type: ignore[arg-type]
    _alike(tmp_path / "quantised")
    lazy = LazyWeights(tmp_path / "quantised")
    assert lazy.quantised and not LazyWeights(tmp_path / "plain").quantised
    assert lazy.dtype("model.layers.0.mlp.up_proj.weight") == container
    assert lazy.dtype("model.norm.weight") == "bfloat16"


@pytest.mark.parametrize("dtype", ["float32", "q8_0"])
def test_gguf_files_are_read(dtype: str, tmp_path: Path) -> None:
    write_models(tmp_path, "one")
    config = ConvertConfig(dtype=dtype)  # type: ignore[arg-type]
    convert(tmp_path / "one", tmp_path / "one.gguf", config, force=False, invocation=Invocation("convert"))
    _alike(tmp_path / "one.gguf")
    lazy = LazyWeights(tmp_path / "one.gguf")
    assert lazy.quantised == (dtype == "q8_0")
    assert lazy.dtype("model.layers.0.mlp.up_proj.weight") == dtype


def test_damaged_models_are_refused_before_any_weight_is_read(tmp_path: Path) -> None:
    write_models(tmp_path, "one")
    whole = load_file(tmp_path / "one/model.safetensors")
    less = {name: one for name, one in whole.items() if name != "model.norm.weight"}
    for tensors, problem in (
        (less, "lack model.norm.weight"),
        (whole | {"model.extra": torch.ones(1)}, "have model.extra"),
        (less | {"model.norm.weight": torch.ones(3)}, r"model.norm.weight is \[3\]"),
        (less | {"model.norm.weight": torch.ones(32).double()}, "stored as F64"),
    ):
        save_file(tensors, tmp_path / "one/model.safetensors", metadata={"format": "pt"})
        with pytest.raises(DataError, match=problem):
            LazyWeights(tmp_path / "one")
    with pytest.raises(MissingError):
        LazyWeights(tmp_path / "nowhere")


def test_a_stored_head_that_is_not_the_embedding_it_is_said_to_be_is_not_lost_in_silence(
    tmp_path: Path,
) -> None:
    write_models(tmp_path, "one", tie_word_embeddings=True)
    tensors = load_file(tmp_path / "one/model.safetensors")
    head = tensors["model.embed_tokens.weight"].clone()
    save_file(
        tensors | {"lm_head.weight": head}, tmp_path / "one/model.safetensors", metadata={"format": "pt"}
    )
    _alike(tmp_path / "one")
    head[0, 0] += 1
    save_file(
        tensors | {"lm_head.weight": head}, tmp_path / "one/model.safetensors", metadata={"format": "pt"}
    )
    with pytest.raises(DataError, match=r"differs from the embedding"):
        LazyWeights(tmp_path / "one").read(["model.embed_tokens.weight"])
