"""A plan's bytes are those of the files that are then written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import UsageError
from llmkit.formats.provenance import Invocation
from llmkit.workflows.convert.convert import convert, plan_convert
from llmkit.workflows.convert.options import ConvertConfig

INVOCATION = Invocation("convert", {})


@pytest.mark.parametrize(
    ("out", "options"),
    [
        ("a.gguf", {}),
        ("a.gguf", {"dtype": "q8_0"}),
        ("a", {"dtype": "bfloat16"}),
        ("a", {"max_shard_bytes": 3000}),
        ("a", {"tie": False}),
    ],
)
def test_a_plan_is_exact(
    tiny_model: Callable[..., Path], byte_level_dir: Path, tmp_path: Path, out: str, options: dict[str, Any]
) -> None:
    folder = tiny_model(vocab_size=640)
    config = ConvertConfig(tokenizer=byte_level_dir, **options)
    place = tmp_path / out
    plan = plan_convert(folder, place, config, force=False, invocation=INVOCATION)
    assert not place.exists() and not plan.written
    report = convert(folder, place, config, force=False, invocation=INVOCATION)
    files = [place] if place.is_file() else sorted(place.glob("*.safetensors"))
    assert plan.size_bytes == sum(file.stat().st_size for file in files)
    assert plan.files == len(files)
    assert report.written and (report.size_bytes, report.tensors) == (plan.size_bytes, plan.tensors)


def test_quantised_weights_to_gguf_ask_for_a_dtype(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    folder, first = tiny_model(hidden_size=32, intermediate_size=64), tmp_path / "a.gguf"
    convert(folder, first, ConvertConfig(dtype="q8_0"), force=False, invocation=INVOCATION)
    with pytest.raises(UsageError, match="quantised weights, and no dtype"):
        plan_convert(first, tmp_path / "b.gguf", ConvertConfig(), force=False, invocation=INVOCATION)
    with pytest.raises(UsageError, match="quantised weights, and no dtype"):
        plan_convert(first, tmp_path / "b", ConvertConfig(), force=False, invocation=INVOCATION)
    plain = ConvertConfig(dequantize=True)
    report = convert(first, tmp_path / "b", plain, force=False, invocation=INVOCATION)
    assert report.dtype == "float32"


def test_plain_weights_are_not_to_be_dequantised(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    config = ConvertConfig(dequantize=True)
    with pytest.raises(UsageError, match="--dequantize, but the weights are plain numbers"):
        plan_convert(tiny_model(), tmp_path / "a", config, force=False, invocation=INVOCATION)
