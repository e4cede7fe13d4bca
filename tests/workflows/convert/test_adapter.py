"""PEFT's folder to a GGUF file and back: the same bytes of numbers; what cannot be is refused before."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from llmkit.errors import ConfigError, UsageError
from llmkit.formats.gguf.header import read_gguf_header
from llmkit.formats.provenance import Invocation, read_provenance
from llmkit.workflows.convert.convert import convert, plan_convert
from llmkit.workflows.convert.options import ConvertConfig

INVOCATION = Invocation("convert", {}, ("in", "out"))
WEIGHTS = "adapter_model.safetensors"


def _convert(source: Path, out: Path, *, force: bool = False, **options: Any) -> Any:
    return convert(source, out, ConvertConfig(**options), force=force, invocation=INVOCATION)


@pytest.fixture
def both(tiny_model: Callable[..., Path], tiny_adapter: Callable[..., Path]) -> tuple[Path, Path]:
    """A model, and an adapter that names it by a path beside itself."""
    model = tiny_model("base")
    adapter = tiny_adapter(base_model_name_or_path="base")
    return model, adapter


def test_an_adapter_comes_back_as_the_same_numbers_and_config(
    both: tuple[Path, Path], tmp_path: Path
) -> None:
    model, adapter = both
    report = _convert(adapter, tmp_path / "a.gguf")
    assert (report.written, report.base, report.form) == (True, str(model), "gguf")
    assert report.size_bytes == (tmp_path / "a.gguf").stat().st_size
    told = _convert(tmp_path / "a.gguf", tmp_path / "back")
    assert (told.form, told.tensors, told.dtype) == ("safetensors", 8, "float32")
    before, after = load_file(adapter / WEIGHTS), load_file(tmp_path / "back" / WEIGHTS)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    config = json.loads((tmp_path / "back" / "adapter_config.json").read_text())
    assert (config["r"], config["base_model_name_or_path"]) == (2, "base")
    assert config["lora_alpha"] == json.loads((adapter / "adapter_config.json").read_text())["lora_alpha"]
    provenance = read_provenance(tmp_path / "back")
    assert provenance is not None and list(provenance["inputs"]) == ["a.gguf"]


def test_a_plan_writes_nothing_and_says_the_size(both: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "a.gguf"
    plan = plan_convert(both[1], out, ConvertConfig(), force=False, invocation=INVOCATION)
    assert not out.exists() and not plan.written
    assert plan.size_bytes == _convert(both[1], out).size_bytes


def test_the_same_adapter_gives_the_same_bytes_and_another_dtype_others(
    both: tuple[Path, Path], tmp_path: Path
) -> None:
    for name, options in (("a", {}), ("b", {}), ("c", {"dtype": "float16"})):
        _convert(both[1], tmp_path / f"{name}.gguf", **options)
    first, second, third = ((tmp_path / f"{name}.gguf").read_bytes() for name in "abc")
    assert first == second != third
    assert {one.type for one in read_gguf_header(tmp_path / "c.gguf").tensors} == {"F16"}
    assert _convert(tmp_path / "c.gguf", tmp_path / "narrow").dtype == "float16"
    assert _convert(tmp_path / "c.gguf", tmp_path / "wide", dtype="float32").dtype == "float32"


def test_the_base_is_the_one_that_is_given_where_none_is_named(
    tiny_model: Callable[..., Path], tiny_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    adapter, out = tiny_adapter(base_model_name_or_path="org/far-away"), tmp_path / "a.gguf"
    with pytest.raises(UsageError, match="names org/far-away as its base, which is not here") as caught:
        _convert(adapter, out)
    assert "--base MODEL" in caught.value.hint
    _convert(adapter, out, base=tiny_model("base"))
    assert read_gguf_header(out).metadata["general.base_model.0.name"] == "org/far-away"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"check": True}, "--check is for models"),
        ({"tie": True}, "--tie is for models"),
        ({"max_shard_bytes": 100}, "--max-shard-size is for models"),
        ({"to": "safetensors"}, "that form already"),
    ],
)
def test_options_of_models_are_refused(
    options: dict[str, Any], message: str, both: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        _convert(both[1], tmp_path / "a.gguf", **options)
    assert not (tmp_path / "a.gguf").exists()


def test_a_base_for_a_model_is_refused(both: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--base is the model of an adapter"):
        _convert(both[0], tmp_path / "a.gguf", base=both[0])


def test_dora_leaves_nothing_behind(
    tiny_model: Callable[..., Path], tiny_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    from safetensors.numpy import save_file

    tiny_model("base")
    adapter = tiny_adapter(base_model_name_or_path="base", use_dora=True)
    tensors = load_file(adapter / WEIGHTS)
    lengths = {
        name.replace("lora_B.weight", "lora_magnitude_vector"): np.ones(len(one), "f4")
        for name, one in tensors.items()
        if "lora_B" in name
    }
    save_file(tensors | lengths, adapter / WEIGHTS)
    with pytest.raises(ConfigError, match="no DoRA"):
        _convert(adapter, tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()
