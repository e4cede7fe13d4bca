"""A folder and a GGUF file of one model answer alike."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gguf_copies import split_gguf
from transformers import AutoModelForCausalLM

from llmkit.errors import MissingError, UsageError
from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.formats.gguf.write import write_gguf
from llmkit.model.gguf.save import gguf_model
from llmkit.model.load import load_model
from llmkit.model.quantised.stored import QuantisedInfo
from llmkit.model.save import save_model
from llmkit.model.source import (
    carries_tokenizer,
    check_model,
    config_source,
    is_adapter,
    is_model,
    model_files,
    read_model_config,
    read_model_generation,
    read_model_tensors,
    read_plain_tensors,
)
from llmkit.tokens.gguf.write import gguf_tokenizer_metadata
from llmkit.tokens.load import load_tokenizer
from tests.quant.small_folders import write_folders


def _gguf(folder: Path, path: Path, more: dict[str, MetadataValue]) -> Path:
    made = gguf_model(load_model(folder), "float32")
    with path.open("wb") as stream:
        write_gguf(stream, {**made.metadata, **more}, made.tensors)
    return path


def test_both_forms_have_one_config(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = tiny_model()
    path = _gguf(folder, tmp_path / "a.gguf", {})
    ours, theirs = read_model_config(folder), read_model_config(path)
    assert {key: one for key, one in ours.items() if theirs[key] != one} == {}
    assert config_source(folder) == f"{folder}/config.json" and config_source(path) == str(path)
    assert sum(one.numel for one in read_model_tensors(path).values()) == sum(
        one.numel for one in read_model_tensors(folder).values()
    )
    assert model_files(path) == [path]
    assert [file.name for file in model_files(folder)] == ["config.json", "model.safetensors"]
    parts = split_gguf(path, tmp_path / "parts", 9)
    assert len(parts) > 1 and model_files(parts[0]) == parts


def test_a_folder_whose_config_names_no_dtype_has_that_of_its_weights(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    folder, told = tmp_path / "untold", tiny_model()
    folder.mkdir()
    save_model(load_model(told), folder, dtype=torch.bfloat16)
    path = folder / "config.json"
    content = json.loads(path.read_text())
    del content["dtype"], content["torch_dtype"]
    path.write_text(json.dumps(content))
    assert read_model_config(folder) == content | {"dtype": "bfloat16"}
    peer = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    assert peer.dtype == next(load_model(folder).parameters()).dtype == torch.bfloat16
    path.write_text(json.dumps({"dtype": None, "text_config": {"torch_dtype": "float16"}}))
    assert read_model_config(folder) == json.loads(path.read_text())
    (folder / "model.safetensors").unlink()
    path.write_text(json.dumps(content))
    assert read_model_config(folder) == content  # with no weights there either, nothing is told


def test_a_file_without_a_tokenizer_says_so(
    tiny_model: Callable[..., Path], byte_level_dir: Path, tmp_path: Path
) -> None:
    folder = tiny_model(vocab_size=600)
    bare = _gguf(folder, tmp_path / "bare.gguf", {"tokenizer.ggml.model": "none"})
    assert not carries_tokenizer(bare) and read_model_generation(bare) == ({}, str(bare))
    tokenizer = gguf_tokenizer_metadata(load_tokenizer(byte_level_dir))
    full = _gguf(folder, tmp_path / "full.gguf", {**tokenizer, "general.sampling.top_k": Typed("i32", 20)})
    assert carries_tokenizer(full)
    ids = {text: load_tokenizer(byte_level_dir).id_of(text) for text in ("<|endoftext|>", "<|im_end|>")}
    assert read_model_generation(full)[0] == {
        **{"top_k": 20, "do_sample": True},
        "eos_token_id": list(ids.values()),
    }
    odd = _gguf(folder, tmp_path / "odd.gguf", {**tokenizer, "general.sampling.temp": "warm"})
    assert read_model_generation(odd)[0]["temperature"] == "warm"  # refused by name where it is used
    assert load_tokenizer(full).encode("The licence") == load_tokenizer(byte_level_dir).encode("The licence")


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    assert is_model(tmp_path) and not is_model(tmp_path / "a.txt")
    with pytest.raises(MissingError, match="no model folder and no GGUF file"):
        check_model(tmp_path / "a.txt")
    with pytest.raises(MissingError, match="no such model folder"):
        check_model(tmp_path / "none")
    check_model(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UsageError, match="an adapter, not a model"):
        check_model(tmp_path)


def test_a_file_of_a_model_folder_is_told_that_the_folder_is_the_model(tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(MissingError) as caught:
        check_model(folder / "model.safetensors")
    assert caught.value.hint.startswith("give a model: ")  # no config.json: the folder is no model either
    (folder / "config.json").write_text("{}")
    with pytest.raises(MissingError) as caught:
        check_model(folder / "model.safetensors")
    assert caught.value.hint == f"give the folder that it is in: '{folder}'"


def test_a_name_on_the_hub_is_told_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for name, told in (("Qwen/Qwen3-0.6B", True), ("runs/a", False), ("a/b/c", False), ("a/b.gguf", False)):
        with pytest.raises(MissingError) as caught:
            check_model(Path(name))
        got = caught.value.hint == f"llmkit downloads nothing: hf download {name} --local-dir Qwen3-0.6B"
        assert got == told, name


def test_a_quantised_matrix_is_one_tensor_unless_its_way_is_not_read(tmp_path: Path) -> None:
    write_folders(tmp_path)
    folder = tmp_path / "quantised"
    plain, stored = read_plain_tensors(folder), read_model_tensors(folder)
    assert plain.keys() == read_model_tensors(tmp_path / "plain").keys()
    matrix = plain["model.layers.0.mlp.down_proj.weight"]
    assert isinstance(matrix, QuantisedInfo) and matrix.shape == (64, 96)
    assert sum(one.nbytes for one in plain.values()) == sum(one.nbytes for one in stored.values())
    config = (folder / "config.json").read_text().replace('"compressed-tensors"', '"another"')
    (folder / "config.json").write_text(config)
    assert read_plain_tensors(folder) == stored


def test_an_adapter_or_an_importance_matrix_in_a_gguf_file_is_no_model(tmp_path: Path) -> None:
    for kind, hint in (("adapter", "llmkit merge BASE --adapter"), ("imatrix", "--imatrix")):
        path = tmp_path / f"{kind}.gguf"
        with path.open("wb") as stream:
            write_gguf(stream, {"general.type": kind, "general.architecture": "llama"}, [])
        assert is_adapter(path) == (kind == "adapter")
        with pytest.raises(UsageError, match="not a model") as caught:
            check_model(path)
        assert hint in caught.value.hint
