"""Whole merges of models: the same as arithmetic on whole models, in bounded memory, whatever the threads."""

import json
import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig

from llmkit.errors import DataError, UsageError
from llmkit.formats.provenance import read_provenance
from llmkit.model.algebra.mix import Recipe, mix
from llmkit.model.lazy_weights import LazyWeights
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.prompt import PromptEncoder
from llmkit.workflows.scaled_path import ScaledPath
from tests.quant.small_folders import write_folders
from tests.workflows.merging import FAMILIES, merged, weights_of, write_models

families = pytest.mark.parametrize("family", FAMILIES)


@families
def test_an_expression_is_arithmetic_on_whole_models(family: str, tmp_path: Path) -> None:
    write_models(tmp_path, "one", "two", "zero", **FAMILIES[family])
    merged(tmp_path, "out", "a=one", "b=two", "base=zero", expression="a + 0.5*(b - base)")
    a, b, base, out = (weights_of(tmp_path / name) for name in ("one", "two", "zero", "out"))
    assert out.keys() == a.keys()
    for name in a:
        expected = a[name].double() + 0.5 * (b[name].double() - base[name].double())
        assert torch.allclose(out[name].double(), expected, atol=1e-6, rtol=1e-6), name


METHODS: list[dict[str, Any]] = [
    {"method": "linear", "weights": (3.0, 1.0)},
    {"method": "slerp", "weights": (0.3,)},
    {"method": "task", "weights": (0.7, -0.2), "scale": 1.5},
    {"method": "ties", "densities": (0.3, 0.6)},
    {"method": "dare", "densities": (0.4,), "seed": 5},
    {"method": "dare-ties", "weights": (0.5,), "seed": 5},
    {"method": "model-stock"},
]


@pytest.mark.parametrize("options", METHODS, ids=lambda options: options["method"])
def test_a_method_is_its_recipe_tensor_by_tensor(options: dict[str, Any], tmp_path: Path) -> None:
    write_models(tmp_path, "zero", "one", "two", near=0.1)
    on_differences = options["method"] not in ("linear", "slerp")
    if on_differences:
        options = {**options, "base": tmp_path / "zero"}
    report = merged(tmp_path, "out", "one", "two", **options)
    base, a, b, out = (weights_of(tmp_path / name) for name in ("zero", "one", "two", "out"))
    full = {"linear": (3.0, 1.0), "slerp": (0.3, 0.3), "task": (0.7, -0.2), "dare-ties": (0.5, 0.5)}
    recipe = Recipe(
        method=options["method"],
        weights=full.get(options["method"], (1.0, 1.0)),
        densities={"ties": (0.3, 0.6), "dare": (0.4, 0.4)}.get(options["method"], (0.5, 0.5)),
        normalize=options["method"] in ("linear", "ties"),
        scale=options.get("scale", 1.0),
        seed=options.get("seed", 0),
    )
    for name in a:
        expected = mix(recipe, name, [a[name], b[name]], base[name] if on_differences else None)
        assert torch.equal(out[name], expected), name
    assert report.written and report.changed == report.tensors
    assert [one.path for one in report.models][-1] == str(tmp_path / "two")


def test_any_number_of_threads_and_files_gives_the_same_numbers(tmp_path: Path) -> None:
    write_models(tmp_path, "zero", "one", "two", near=0.1, **FAMILIES["mixtral"])
    options: dict[str, Any] = {"method": "dare-ties", "base": tmp_path / "zero", "dtype": "bfloat16"}
    for threads in (1, 3):
        merged(tmp_path, f"whole{threads}", "one", "two", threads=threads, **options)
        merged(tmp_path, f"cut{threads}", "one", "two", threads=threads, max_shard_bytes=20_000, **options)
    for name in ("whole", "cut"):
        files = sorted(path.name for path in (tmp_path / f"{name}1").iterdir())
        assert files == sorted(path.name for path in (tmp_path / f"{name}3").iterdir())
        for file in files:
            assert (tmp_path / f"{name}1" / file).read_bytes() == (tmp_path / f"{name}3" / file).read_bytes()
    index = json.loads((tmp_path / "cut1" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) == 5
    whole, cut = weights_of(tmp_path / "whole1"), weights_of(tmp_path / "cut1")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_a_model_minus_nothing_is_the_model_bit_for_bit(tmp_path: Path) -> None:
    # what save_model writes and what the stream writes are one file, header included
    write_models(tmp_path, "one", "two", **FAMILIES["gpt2"])
    merged(tmp_path, "out", "a=one", "b=two", expression="a + 0*b")
    before, after = weights_of(tmp_path / "one"), weights_of(tmp_path / "out")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (tmp_path / "out" / "config.json").read_bytes() == (tmp_path / "one" / "config.json").read_bytes()


def test_memory_is_that_of_a_few_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_models(tmp_path, "one", "two", num_hidden_layers=12)
    held = {"now": 0, "most": 0}
    read = LazyWeights.read

    def counted(self: LazyWeights, names: Any) -> dict[str, torch.Tensor]:
        found = read(self, names)
        for tensor in found.values():
            size = tensor.nbytes
            held["now"] += size
            weakref.finalize(tensor, lambda size=size: held.update(now=held["now"] - size))
        held["most"] = max(held["most"], held["now"])
        return found

    monkeypatch.setattr(LazyWeights, "read", counted)
    report = merged(tmp_path, "out", "one", "two", method="linear", threads=1)
    largest = 48 * 32 * 4  # an MLP matrix, float32
    assert held["most"] <= 2 * largest
    assert report.size_bytes > 50 * largest
    assert 2 * largest <= report.memory_bytes <= 6 * largest


def test_quantised_models_become_plain_numbers_on_the_way(tmp_path: Path) -> None:
    write_folders(tmp_path, "awq")
    report = merged(tmp_path, "out", "a=quantised", "b=plain", expression="2*a - b", dtype="float32")
    assert [one.quantised for one in report.models] == [True, False]
    exact = weights_of(tmp_path / "plain")  # the quantised one's numbers, rounded to bfloat16
    out = weights_of(tmp_path / "out")
    assert all(torch.allclose(out[name], exact[name], rtol=2**-7, atol=1e-6) for name in exact)
    assert "quantization_config" not in json.loads((tmp_path / "out" / "config.json").read_text())


def test_gguf_files_are_read_too(tmp_path: Path) -> None:
    from llmkit.formats.provenance import Invocation
    from llmkit.workflows.convert.convert import convert
    from llmkit.workflows.convert.options import ConvertConfig

    write_models(tmp_path, "one", "two")
    convert(
        tmp_path / "two",
        tmp_path / "two.gguf",
        ConvertConfig(),
        force=False,
        invocation=Invocation("convert"),
    )
    merged(tmp_path, "folders", "one", "two", method="linear")
    merged(tmp_path, "mixed", "one", "two.gguf", method="linear")
    first, second = weights_of(tmp_path / "folders"), weights_of(tmp_path / "mixed")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_made_a_model_is_told_beside_it(tmp_path: Path, byte_level_dir: Path) -> None:
    write_models(tmp_path, "one", "two", vocab_size=600)
    for folder in ("one", "two"):
        for file in byte_level_dir.iterdir():
            (tmp_path / folder / file.name).write_bytes(file.read_bytes())
    report = merged(tmp_path, "out", "one", "two", method="linear")
    record = read_provenance(tmp_path / "out")
    assert record is not None and record["tokenizer_sha256"] == report.tokenizer_sha256
    assert sorted(record["inputs"]) == [
        *("one/config.json", "one/model.safetensors", "two/config.json", "two/model.safetensors"),
    ]
    assert (tmp_path / "out/tokenizer.json").read_bytes() == (byte_level_dir / "tokenizer.json").read_bytes()


def test_a_plan_names_every_tensor_and_writes_nothing(tmp_path: Path) -> None:
    write_models(tmp_path, "one", "two", **FAMILIES["gpt2"])
    report = merged(tmp_path, "out", "one", "two", method="slerp", dry_run=True)
    assert not report.written and not (tmp_path / "out").exists()
    assert sum(one.size_bytes for one in report.rows) == report.size_bytes
    assert {one.name for one in report.rows} >= {"transformer.h.1.attn.c_attn.weight"}
    assert report.rows[0].source == f"slerp of {tmp_path / 'one'}, {tmp_path / 'two'}"
    done = merged(tmp_path, "out", "one", "two", method="slerp")
    header_bytes = (tmp_path / "out/model.safetensors").stat().st_size - report.size_bytes
    assert 0 < header_bytes < 20_000 and done.tensors == len(report.rows)


def test_outputs_and_inputs_are_kept(tmp_path: Path) -> None:
    write_models(tmp_path, "one", "two")
    with pytest.raises(UsageError, match="the output is also an input"):
        merged(tmp_path, "one", "one", "two", method="linear")


def test_a_number_beyond_float16_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    write_models(tmp_path, "one", "two")
    with pytest.raises(DataError, match=r"becomes .*beyond float16"):
        merged(tmp_path, "out", "a=one", "b=two", expression="1e6*a + b", dtype="float16")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


@pytest.mark.parametrize("number", [math.nan, -math.inf])
@pytest.mark.parametrize("options", [{"method": "linear"}, {"method": "ties"}, {"extract": True, "rank": 2}])
def test_a_model_with_a_weight_that_is_no_number_is_refused(
    number: float, options: dict[str, Any], tmp_path: Path
) -> None:
    write_models(tmp_path, "one", "two")
    tensors = load_file(tmp_path / "two/model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = number
    save_file(tensors, tmp_path / "two/model.safetensors", metadata={"format": "pt"})
    options = options | ({"base": tmp_path / "one"} if options.get("method") == "ties" else {})
    models = ("two", "two") if "base" in options else ("one", "two")
    with pytest.raises(DataError, match=r"two: model\.layers\.1\.mlp\.up_proj\.weight: a weight is not a f"):
        merged(tmp_path, "out", *models, **options)
    assert not (tmp_path / "out").exists()


def test_a_sum_beyond_every_dtype_is_named(tmp_path: Path) -> None:
    write_models(tmp_path, "one", "two")
    with pytest.raises(DataError, match=r"becomes inf, beyond float32's 3.40282e\+38"):
        merged(tmp_path, "out", "a=one", "b=two", expression="3e38*a + 3e38*b")


def test_a_chat_adapter_stops_the_merged_model_where_answers_end(
    spelled_model: Callable[..., Path], tiny_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    base, adapter = spelled_model("base", num_key_value_heads=1), tiny_adapter()
    tokenizer = load_tokenizer(base)
    end = PromptEncoder(tokenizer).turn_end
    assert end is not None and tokenizer.chat_template is not None
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": 7}))
    learnt = {"none": None, "other": "x", "same": tokenizer.chat_template}
    for name, template in learnt.items():
        if template is not None:
            (adapter / "chat_template.jinja").write_text(template)
        merged(tmp_path, name, "base", adapters=(ScaledPath(adapter, 1.0),))
    told = [GenerationConfig.from_pretrained(tmp_path / name).eos_token_id for name in learnt]
    assert told == [7, 7, [7, end]]
