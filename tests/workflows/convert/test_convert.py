"""Folder to GGUF to folder: weights, tokenizer, template, settings come back; failures leave nothing."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf_copies import split_gguf
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch
from transformers import GenerationConfig

from llmkit.errors import ConfigError, DataError, UsageError
from llmkit.formats.gguf.header import read_gguf_header
from llmkit.formats.provenance import Invocation, read_provenance
from llmkit.model.pooling import Pooling, read_pooling, write_pooling
from llmkit.model.relevance import read_relevance
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.convert.convert import convert, plan_convert
from llmkit.workflows.convert.options import ConvertConfig
from llmkit.workflows.convert.plan import ConvertReport
from tests.model.test_relevance import judging_folder
from tests.parity.llama_cpp import llama_cpp_logits
from tests.quant.small_folders import write_folders

INVOCATION = Invocation("convert", {"dtype": None}, ("in", "out"))


def _convert(source: Path, out: Path, force: bool = False, **options: object) -> ConvertReport:
    config = ConvertConfig(**options)  # type: ignore[arg-type]
    return convert(source, out, config, force=force, invocation=INVOCATION)


@pytest.fixture
def model(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Path:
    """A folder with a tokenizer, a template and sampling defaults."""
    folder = tiny_model(vocab_size=600, hidden_size=32, intermediate_size=64)
    for file in byte_level_dir.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    settings = {"eos_token_id": [0, 2], "temperature": 0.5, "top_k": 20}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    return folder


def test_a_folder_comes_back_from_gguf(model: Path, tmp_path: Path) -> None:
    _convert(model, tmp_path / "a.gguf")
    _convert(tmp_path / "a.gguf", tmp_path / "b")
    before, after = (load_file(folder / "model.safetensors") for folder in (model, tmp_path / "b"))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    ours, theirs = load_tokenizer(model), load_tokenizer(tmp_path / "b")
    assert ours.encode("Redistribution and use") == theirs.encode("Redistribution and use")
    assert ours.chat_template == theirs.chat_template
    settings = json.loads((tmp_path / "b" / "generation_config.json").read_text())
    assert (settings["temperature"], settings["top_k"]) == (0.5, 20)
    assert settings["eos_token_id"] == [0, 2]  # <|im_end|> ends a turn by its looks
    provenance = read_provenance(tmp_path / "b")
    assert provenance is not None
    assert provenance["command_line"] == "llmkit convert in out"
    assert list(provenance["inputs"]) == ["a.gguf"]
    assert provenance["tokenizer_sha256"] == theirs.sha256


def test_how_vectors_are_made_goes_with_a_model_and_what_gguf_cannot_say_is_told(
    model: Path, tmp_path: Path
) -> None:
    pooling = Pooling("last", query="Query: ")
    write_pooling(model, pooling, 32)
    told = _convert(model, tmp_path / "a.gguf")
    assert any("before queries" in note for note in told.notes)
    assert read_gguf_header(tmp_path / "a.gguf").metadata["llama.pooling_type"] == 3
    _convert(tmp_path / "a.gguf", tmp_path / "b")
    _convert(model, tmp_path / "c", dtype="float16")
    assert [read_pooling(tmp_path / one) for one in ("b", "c")] == [replace(pooling, query=""), pooling]


def test_that_a_model_judges_goes_with_it_and_is_told_where_gguf_cannot_say_it(
    model: Path, tmp_path: Path
) -> None:
    judging_folder(model, {"true_token_id": 5})
    assert any("judges pairs" in note for note in _convert(model, tmp_path / "a.gguf").notes)
    _convert(model, tmp_path / "b")
    assert read_relevance(tmp_path / "b") == read_relevance(model) is not None


def test_steps_that_cannot_be_copied_are_found_before_any_work(model: Path, tmp_path: Path) -> None:
    (model / "modules.json").write_text('[{"path": "..", "type": "x.Transformer"}]')
    with pytest.raises(DataError, match="is outside"):
        plan_convert(model, tmp_path / "b", ConvertConfig(), force=False, invocation=INVOCATION)


def test_the_same_input_gives_the_same_bytes(model: Path, tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        _convert(model, tmp_path / name, dtype="q8_0")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    metadata = read_gguf_header(tmp_path / "a.gguf").metadata
    assert list(metadata)[:2] == ["general.architecture", "general.type"]
    assert (metadata["general.name"], metadata["general.sampling.top_k"]) == ("model", 20)


@pytest.mark.parametrize(
    ("told", "back"),
    [
        ({"do_sample": True, "temperature": 0.5}, {"do_sample": True, "temperature": 0.5}),
        ({"do_sample": True, "top_k": 9}, {"do_sample": True, "top_k": 9}),
        ({"do_sample": False, "temperature": 0.5}, {"do_sample": False}),
        ({}, {}),
    ],
)
def test_whether_a_model_draws_is_the_same_behind_a_gguf_file(
    model: Path, tmp_path: Path, told: dict[str, Any], back: dict[str, Any]
) -> None:
    (model / "generation_config.json").write_text(json.dumps(told))
    _convert(model, tmp_path / "a.gguf")
    _convert(tmp_path / "a.gguf", tmp_path / "b")
    peer = GenerationConfig.from_pretrained(tmp_path / "b")
    plain = GenerationConfig()
    names = ("do_sample", "temperature", "top_k")
    assert {name: getattr(peer, name) for name in names} == {
        name: back.get(name, getattr(plain, name)) for name in names
    }


def test_a_folder_is_cast_and_cut(model: Path, tmp_path: Path) -> None:
    _convert(model, tmp_path / "b", dtype="float16", max_shard_bytes=20_000)
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    index = json.loads((tmp_path / "b" / "model.safetensors.index.json").read_text())
    files = sorted((tmp_path / "b").glob("*.safetensors"))
    assert config["dtype"] == "float16" and len(files) > 1
    stored = {name: one for file in files for name, one in load_file(file).items()}
    assert stored.keys() == index["weight_map"].keys()
    before = load_file(model / "model.safetensors")
    assert all(np.array_equal(stored[name], one.astype("f2")) for name, one in before.items())
    assert (tmp_path / "b" / "tokenizer.json").read_bytes() == (model / "tokenizer.json").read_bytes()


def test_a_check_that_fails_leaves_nothing(model: Path, tmp_path: Path) -> None:
    for out in (tmp_path / "a.gguf", tmp_path / "b"):
        report = _convert(model, out, dtype="bfloat16", check=True, tolerance=1e-9)
        assert not report.written and not report.check.passed  # type: ignore[attr-defined]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
        assert _convert(model, out, dtype="bfloat16", check=True).written  # type: ignore[attr-defined]
        out.unlink() if out.is_file() else None


def test_outputs_are_kept_unless_force_is_given_and_inputs_always(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.gguf"
    _convert(model, out)
    with pytest.raises(UsageError, match="already exists"):
        _convert(model, out)
    _convert(model, out, force=True)
    with pytest.raises(UsageError, match="also an input"):
        _convert(out, out, force=True, dtype="float16")


def test_a_gguf_model_in_parts_comes_back_whole_and_no_part_is_written_over(
    model: Path, tmp_path: Path
) -> None:
    _convert(model, tmp_path / "a.gguf")
    parts = split_gguf(tmp_path / "a.gguf", tmp_path / "parts", 8)
    _convert(parts[0], tmp_path / "b")
    before, after = (load_file(folder / "model.safetensors") for folder in (model, tmp_path / "b"))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    provenance = read_provenance(tmp_path / "b")
    assert provenance is not None and list(provenance["inputs"]) == [one.name for one in parts]
    assert load_tokenizer(tmp_path / "b").sha256 == load_tokenizer(tmp_path / "a.gguf").sha256
    _convert(parts[0], tmp_path / "c.gguf", dtype="q8_0")
    assert not any(key.startswith("split.") for key in read_gguf_header(tmp_path / "c.gguf").metadata)
    with pytest.raises(UsageError, match="also an input"):
        _convert(parts[0], parts[1], force=True, dtype="float16")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("out", ["b", "b.gguf"])
def test_a_weight_that_is_no_finite_number_is_not_written(
    model: Path, tmp_path: Path, out: str, number: float
) -> None:
    weights = load_file(model / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][3, 5] = number
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    for dtype in (None, "float16", "bfloat16"):
        with pytest.raises(DataError, match=r"(blk\.0\.ffn_up|up_proj)\.weight: a weight is not a finite"):
            _convert(model, tmp_path / out, dtype=dtype)
        assert not (tmp_path / out).exists()


def test_a_number_that_would_become_infinite_in_a_gguf_file_is_named(model: Path, tmp_path: Path) -> None:
    weights = load_file(model / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][3, 5] = 3.4e38
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    for dtype, most in (("float16", "65504"), ("bfloat16", "3.38953e")):
        with pytest.raises(DataError, match=rf"blk\.0\.ffn_up\.weight has 3.4e\+38, beyond {dtype}'s {most}"):
            _convert(model, tmp_path / "b.gguf", dtype=dtype)
    _convert(model, tmp_path / "b.gguf", dtype="float32")


def test_a_number_beyond_float16_is_named(model: Path, tmp_path: Path) -> None:
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"][3] = 1e6
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"model.norm.weight has 1e\+06, beyond float16"):
        _convert(model, tmp_path / "b", dtype="float16")
    _convert(model, tmp_path / "a.gguf", dtype="float16")  # norms stay float32 there
    assert not (tmp_path / "b").exists()


def test_what_llama_cpp_has_not_is_refused_before_any_work(model: Path, tmp_path: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    with pytest.raises(ConfigError, match="hidden_act silu"):
        _convert(model, tmp_path / "a.gguf")
    assert not list(tmp_path.glob("*.gguf"))


def test_a_model_without_a_tokenizer_says_so(model: Path, tmp_path: Path) -> None:
    report = _convert(model, tmp_path / "a.gguf", carry_tokenizer=False)
    assert report.tokenizer_sha256 is None  # type: ignore[attr-defined]
    assert "no tokenizer" in report.notes[-1]  # type: ignore[attr-defined]
    assert read_gguf_header(tmp_path / "a.gguf").metadata["tokenizer.ggml.model"] == "none"


def test_a_quantised_folder_becomes_plain_numbers_when_asked(tmp_path: Path) -> None:
    write_folders(tmp_path, "awq")
    with pytest.raises(UsageError, match="quantised weights, and no dtype"):
        _convert(tmp_path / "quantised", tmp_path / "a")
    report = _convert(tmp_path / "quantised", tmp_path / "a", dequantize=True, check=True)
    assert report.dtype == "bfloat16" and report.check is not None and report.check.passed
    ours, theirs = (load_torch(tmp_path / name / "model.safetensors") for name in ("a", "plain"))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    wide = _convert(tmp_path / "quantised", tmp_path / "b", dtype="float32")
    assert wide.dtype == "float32"
    exact = load_torch(tmp_path / "b" / "model.safetensors")  # not those of bfloat16
    assert any(not torch.equal(exact[name], theirs[name].float()) for name in exact)
    assert all(torch.equal(exact[name].bfloat16(), theirs[name]) for name in exact)


@pytest.mark.parametrize("tied", [True, False])
def test_new_tokens_get_the_mean_embedding_and_old_texts_keep_their_scores(
    tiny_model: Callable[..., Path], byte_level_dir: Path, tmp_path: Path, tied: bool
) -> None:
    transformers = pytest.importorskip("transformers")
    vocabulary = load_tokenizer(byte_level_dir).vocab_size
    folder = tiny_model(vocab_size=vocabulary, tie_word_embeddings=tied)
    _convert(folder, tmp_path / "new", tokenizer=byte_level_dir, add_tokens=("<|call|>", "<|done|>"))
    grown = load_tokenizer(tmp_path / "new")
    assert grown.encode("<|done|>") == [vocabulary + 1]
    before, after = (
        transformers.AutoModelForCausalLM.from_pretrained(one, dtype=torch.float32)
        for one in (folder, tmp_path / "new")
    )
    ids = torch.tensor([grown.encode("Redistribution")])
    with torch.no_grad():
        old, new = before(ids).logits, after(ids).logits
    torch.testing.assert_close(new[..., :vocabulary], old)
    mean = old.mean(-1, keepdim=True).expand(*old.shape[:-1], 2)
    torch.testing.assert_close(new[..., vocabulary:], mean, atol=1e-5, rtol=1e-4)


def test_new_tokens_without_a_tokenizer_or_beside_a_check_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--add-token: the model has no tokenizer"):
        (model / "tokenizer.json").unlink()
        _convert(model, tmp_path / "out", add_tokens=("<|call|>",))
    with pytest.raises(UsageError, match="--add-token and --check"):
        ConvertConfig(add_tokens=("<|call|>",), check=True)
    with pytest.raises(UsageError, match="--add-token and --no-tokenizer"):
        ConvertConfig(add_tokens=("<|call|>",), carry_tokenizer=False)


def test_a_gguf_model_is_cut_and_llama_cpp_and_llmkit_read_the_files_as_one(
    model: Path, tmp_path: Path
) -> None:
    whole = _convert(model, tmp_path / "a.gguf")
    plan = plan_convert(
        *(model, tmp_path / "b.gguf", ConvertConfig(max_shard_bytes=20_000)),
        **{"force": False, "invocation": INVOCATION},
    )
    report = _convert(model, tmp_path / "b.gguf", max_shard_bytes=20_000, check=True)
    files = sorted(tmp_path.glob("b-*.gguf"))
    assert report.files == plan.files == len(files) > 2 and not (tmp_path / "b.gguf").exists()
    assert report.out == plan.out == str(files[0])
    assert report.size_bytes == plan.size_bytes == sum(file.stat().st_size for file in files)
    assert report.tensors == whole.tensors and report.check is not None and report.check.passed
    ids = [5, 300, 17, 42]
    assert llama_cpp_logits(files[0], ids) == llama_cpp_logits(tmp_path / "a.gguf", ids)
    _convert(files[0], tmp_path / "again.gguf")
    first, second = (read_gguf_header(tmp_path / f"{name}.gguf") for name in ("a", "again"))
    assert [one.name for one in first.tensors] == [one.name for one in second.tensors]
    assert load_tokenizer(files[0]).encode("and use") == load_tokenizer(model).encode("and use")


def test_files_of_several_are_refused_where_one_is_there_already(model: Path, tmp_path: Path) -> None:
    report = _convert(model, tmp_path / "b.gguf", max_shard_bytes=20_000)
    first = Path(report.out)
    first.unlink()
    with pytest.raises(UsageError, match=r"b-00002-of-.*already exists"):
        _convert(model, tmp_path / "b.gguf", max_shard_bytes=20_000)
    assert not first.exists()
    _convert(model, tmp_path / "b.gguf", max_shard_bytes=20_000, force=True)
    assert first.exists()
    with pytest.raises(UsageError, match="also an input"):
        _convert(first, tmp_path / "b.gguf", max_shard_bytes=20_000, force=True)


def test_special_ids_that_only_the_config_names_are_kept_and_none_is_put_before_a_text(
    tiny_model: Callable[..., Path], byte_level_dir: Path, tmp_path: Path
) -> None:
    folder = tiny_model(vocab_size=600, hidden_size=32, intermediate_size=64, bos_token_id=7, pad_token_id=9)
    for file in byte_level_dir.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    settings = json.loads((folder / "tokenizer_config.json").read_text()) | {"bos_token": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    before = load_tokenizer(folder)
    assert (before.bos_id, before.pad_id) == (None, None)  # as Qwen2's
    _convert(folder, tmp_path / "a.gguf")
    told = read_gguf_header(tmp_path / "a.gguf").metadata
    assert (told["tokenizer.ggml.bos_token_id"], told["tokenizer.ggml.padding_token_id"]) == (7, 9)
    assert told["tokenizer.ggml.add_bos_token"] is False
    again = load_tokenizer(tmp_path / "a.gguf")
    assert again.encode("and use", special_tokens=True) == before.encode("and use", special_tokens=True)
    _convert(tmp_path / "a.gguf", tmp_path / "b")
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    assert (config["bos_token_id"], config["pad_token_id"]) == (7, 9)
