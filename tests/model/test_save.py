"""A model's folder as it is written: what is in it, in which files, and the same bytes every time."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llmkit.model.config import ModelConfig
from llmkit.model.load import load_model
from llmkit.model.positions import sinusoid_table
from llmkit.model.save import file_tensors, save_config, save_model, write_weights
from llmkit.model.transformer import Transformer

Make = Callable[..., ModelConfig]
MakeModel = Callable[..., Transformer]


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "mixtral", "gpt_oss"])
def test_the_same_weights_give_the_same_bytes_even_through_a_folder(
    family: str, tmp_path: Path, make_config: Make, make_model: MakeModel
) -> None:
    folders = [tmp_path / name for name in "abcd"]
    for folder, seed in zip(folders, (0, 0, 1, 0), strict=True):
        folder.mkdir()
        model = make_model(make_config(family), seed)
        save_model(model if folder.name != "d" else load_model(folders[0]), folder)
    first, second, other, again = (_digests(folder) for folder in folders)
    assert first == second == again
    assert first["model.safetensors"] != other["model.safetensors"]
    assert list(first) == ["config.json", "generation_config.json", "model.safetensors"]


def test_tensors_are_made_as_they_are_asked_for(make_config: Make, make_model: MakeModel) -> None:
    model = make_model(make_config("mixtral"))
    stream = file_tensors(model)
    name, first = next(stream)
    assert (name, first.shape) == ("model.embed_tokens.weight", (80, 32))
    names = [name, *(name for name, _ in stream)]
    assert len(names) == len(set(names)) == 2 + 2 * (4 + 2 + 1 + 4 * 3) + 1
    assert "model.layers.1.block_sparse_moe.experts.3.w1.weight" in names


def test_a_dtype_is_kept_or_changed_as_asked_and_a_bias_for_choosing_stays_float32(
    tmp_path: Path, make_config: Make, make_model: MakeModel
) -> None:
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "n_routed_experts": 4}
    config = ModelConfig.from_hf(
        {
            **{"model_type": "dots1", "vocab_size": 80, "hidden_size": 32, "intermediate_size": 48},
            **{"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2},
            **{"n_shared_experts": 1, **experts},
        }
    )
    save_model(make_model(config), tmp_path, dtype=torch.bfloat16)
    stored = load_file(tmp_path / "model.safetensors")
    biases = {name for name in stored if name.endswith("e_score_correction_bias")}
    assert len(biases) == 2
    assert {stored[name].dtype for name in biases} == {torch.float32}
    assert {stored[name].dtype for name in stored.keys() - biases} == {torch.bfloat16}
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["dtype"] == written["torch_dtype"] == "bfloat16"
    model = load_model(tmp_path)
    assert {one.dtype for one in model.parameters()} == {torch.bfloat16}
    assert {one.dtype for one in model.buffers() if one.dtype.is_floating_point} == {torch.float32}


def test_files_are_split_between_whole_tensors(tmp_path: Path) -> None:
    tensors = {
        name: torch.full((size,), float(size)) for name, size in zip("abcde", (2, 3, 9, 1, 1), strict=True)
    }
    write_weights(iter(tensors.items()), tmp_path, max_shard_bytes=20)
    files = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert files == [f"model-{n + 1:05d}-of-00003.safetensors" for n in range(3)]
    assert [sorted(load_file(tmp_path / name)) for name in files] == [["a", "b"], ["c"], ["d", "e"]]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": 64, "total_parameters": 16}
    assert index["weight_map"] == {"a": files[0], "b": files[0], "c": files[1], "d": files[2], "e": files[2]}


def test_views_of_one_tensor_are_stored_as_themselves(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    write_weights([("turned", whole.T), ("part", whole[1:]), ("whole", whole)], tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert {name: one.tolist() for name, one in stored.items()} == {
        **{"turned": whole.T.tolist(), "part": whole[1:].tolist(), "whole": whole.tolist()}
    }


def test_sinusoids_are_written_where_others_look_for_learned_positions(
    make_config: Make, make_model: MakeModel
) -> None:
    tensors = dict(file_tensors(make_model(make_config("gpt2", position="sinusoidal"))))
    assert torch.equal(tensors["transformer.wpe.weight"], sinusoid_table(64, 32))


def test_special_ids_and_sampling_defaults_are_written_for_transformers(
    tmp_path: Path, make_config: Make, make_model: MakeModel, transformers: ModuleType
) -> None:
    fields: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": (2, 5), "pad_token_id": None}
    settings = {"temperature": 0.7, "do_sample": True}
    save_config(make_model(make_config(**fields)), tmp_path, generation=settings)
    theirs = transformers.GenerationConfig.from_pretrained(tmp_path)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (1, [2, 5], None)
    assert (theirs.temperature, theirs.do_sample) == (0.7, True)
