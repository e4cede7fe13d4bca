"""What show says of PEFT adapters, also of ones that peft itself would write."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from llmkit.errors import DataError, MissingError
from llmkit.workflows.show.adapter import show_adapter


def test_rank_scaling_targets_and_parameters(tiny_adapter: Callable[..., Path]) -> None:
    report = show_adapter(tiny_adapter())
    assert (report.rank, report.alpha, report.scaling, report.variant) == (2, 8, 4.0, "lora")
    assert (report.base_model, report.target_modules) == ("model", ["q_proj", "v_proj"])
    # two layers; q: 2 x 8 and 8 x 2, v: 2 x 8 and 4 x 2
    assert {one.name: (one.modules, one.ranks, one.parameters) for one in report.modules} == {
        "q_proj": (2, [2], 2 * (16 + 16)),
        "v_proj": (2, [2], 2 * (16 + 8)),
    }
    assert (report.parameters, report.size_bytes, report.refused_by) == (112, 448, {})


def test_rank_stabilised_scaling_divides_by_the_root(tiny_adapter: Callable[..., Path]) -> None:
    report = show_adapter(tiny_adapter(use_rslora=True))
    assert report.scaling == pytest.approx(8 / 2**0.5)
    assert report.variant == "rslora" and "llama.cpp" in report.refused_by


def test_readers_that_refuse_are_named(tiny_adapter: Callable[..., Path]) -> None:
    folder = tiny_adapter(use_dora=True)
    path = folder / "adapter_model.safetensors"
    vector = {"base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector": np.ones(8, "f4")}
    save_file(load_file(path) | vector, path)
    report = show_adapter(folder)
    assert set(report.refused_by) == {"vLLM", "llama.cpp"}
    assert next(one for one in report.modules if one.name == "q_proj").modules == 2


def test_an_adapter_without_weights_is_missing_them(tiny_adapter: Callable[..., Path]) -> None:
    folder = tiny_adapter()
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(MissingError, match="adapter_model"):
        show_adapter(folder)


def test_a_rank_that_is_no_number_is_bad_data(tiny_adapter: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="r is not a positive number"):
        show_adapter(tiny_adapter(r="two"))


def test_a_gguf_file_is_told_by_the_names_that_it_has(
    tiny_adapter: Callable[..., Path], tiny_model: Callable[..., Path], as_gguf: Callable[[Path, Path], Path]
) -> None:
    file = as_gguf(tiny_adapter(rank_pattern={}), tiny_model())
    report = show_adapter(file)
    assert (report.kind, report.architecture, report.base_model) == ("adapter", "llama", "model")
    assert (report.rank, report.alpha, report.scaling, report.variant) == (2, 8, 4.0, "lora")
    assert report.target_modules == ["attn_q", "attn_v"]
    assert {one.name: (one.modules, one.ranks, one.parameters) for one in report.modules} == {
        "attn_q": (2, [2], 2 * (16 + 16)),
        "attn_v": (2, [2], 2 * (16 + 8)),
    }
    assert (report.parameters, report.size_bytes, report.dtypes) == (112, 448, {"F32": 112})
