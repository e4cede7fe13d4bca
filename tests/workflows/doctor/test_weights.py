"""Each way to break a model folder's weights has its finding, and whole ones have none."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file as save_tensors

from llmkit.formats.model_folder import read_header
from llmkit.workflows.doctor.weights import check_finite, check_weights
from tests.quant.small_folders import write_folders

WEIGHTS = "model.safetensors"


def _checks(folder: Path) -> list[tuple[str, str]]:
    return [(one.level, one.check) for one in check_weights(folder)]


def _change(folder: Path, **changes: Any) -> None:
    """Tensors to put in, or with None to leave out."""
    tensors = load_file(folder / WEIGHTS) | changes
    save_file({name: one for name, one in tensors.items() if one is not None}, folder / WEIGHTS)


def _set(folder: Path, **keys: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | keys
    (folder / "config.json").write_text(json.dumps(config))


def _split(folder: Path) -> dict[str, str]:
    """Turn the one file into two with an index, and return the index's map."""
    tensors = load_file(folder / WEIGHTS)
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    (folder / WEIGHTS).unlink()
    places = {name: file for file, part in parts.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return places


def test_whole_models_have_no_findings(tiny_model: Callable[..., Path], shared_data: Path) -> None:
    for folder in (tiny_model(), *(shared_data / "models").iterdir()):
        assert check_weights(folder) == []


def test_a_sharded_model_has_no_findings(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model()
    _split(folder)
    assert check_weights(folder) == []


def test_a_truncated_file_is_found(tiny_model: Callable[..., Path]) -> None:
    path = tiny_model() / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])
    assert _checks(path.parent) == [("error", "weights.header")]


def test_both_truncated_shards_are_found(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model()
    for file in sorted(set(_split(folder).values())):
        (folder / file).write_bytes((folder / file).read_bytes()[:-1])
    assert _checks(folder) == [("error", "weights.header")] * 2


def test_an_index_that_names_an_absent_file_or_place_is_found(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model()
    places = _split(folder)
    wrong = places | {"model.norm.weight": "model-00001-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": wrong}))
    assert _checks(folder) == [("error", "weights.index")]
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert _checks(folder) == [("error", "weights.files")]


def test_a_stale_index_beside_one_file_is_found(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model()
    shutil.copy(folder / WEIGHTS, folder / "aside")
    _split(folder)
    shutil.move(folder / "aside", folder / WEIGHTS)
    assert check_weights(folder) == []  # the same tensors: nothing to be confused by
    _change(folder, **{"model.norm.weight": None, "model.final.weight": np.ones(8, "f4")})
    assert ("warning", "weights.index") in _checks(folder)


def test_missing_surplus_and_misshapen_tensors_are_found(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model()
    _change(folder, **{"model.norm.weight": None})
    assert _checks(folder) == [("error", "weights.missing")]
    _change(folder, **{"model.norm.weight": np.ones(8, "f4"), "model.extra.weight": np.ones(8, "f4")})
    assert _checks(folder) == [("error", "weights.surplus")]
    _change(folder, **{"model.norm.weight": np.ones(9, "f4"), "model.extra.weight": None})
    assert _checks(folder) == [("error", "weights.shape")]


def test_embedding_rows_that_are_not_vocab_size_are_found(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model()
    _set(folder, vocab_size=50)
    (found,) = check_weights(folder)
    assert found.check == "weights.shape" and "[48, 8]" in found.what and "[50, 8]" in found.what


def test_a_tied_head_that_is_stored_is_found(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model()
    _change(folder, **{"lm_head.weight": np.ones((48, 8), "f4")})
    assert _checks(folder) == [("warning", "weights.tied")]
    _set(folder, tie_word_embeddings=False)
    assert _checks(folder) == []


@pytest.mark.parametrize(
    ("dtype", "value"), [("f4", np.nan), ("f4", -np.inf), ("f2", np.nan), ("f2", np.inf)]
)
def test_values_that_are_not_finite_are_found(
    tiny_model: Callable[..., Path], dtype: str, value: float
) -> None:
    folder = tiny_model()
    _change(folder, **{"model.norm.weight": np.array([1, 2, 3, 4, 5, 6, 7, value], dtype)})
    assert ("error", "weights.finite") in _checks(folder)


def test_bfloat16_is_read_and_what_float16_has_not_is_a_remark(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_torch

    path = tmp_path / "one.safetensors"
    for value, expected in (
        *((3e38, "range"), (-3e38, "range"), (65536.0, "range"), (65000.0, None)),
        *((float("nan"), "finite"), (float("inf"), "finite")),
    ):
        save_torch({"a": torch.tensor([1.0, value], dtype=torch.bfloat16)}, path)
        found = [one.check for one in check_finite(read_header(path).tensors)]
        assert found == ([] if expected is None else [f"weights.{expected}"])
    save_file({"a": np.array([65504, -65504], "f2"), "b": np.array([6.55e4], "f4")}, path)
    assert check_finite(read_header(path).tensors) == []
    save_file({"b": np.array([3.4e38], "f4")}, path)
    assert [one.level for one in check_finite(read_header(path).tensors)] == ["info"]


def test_another_dtype_than_the_config_says_is_a_remark(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model()
    _set(folder, dtype="bfloat16", torch_dtype="bfloat16")
    assert _checks(folder) == [("info", "weights.dtype")]
    _set(folder, dtype=None, torch_dtype=None)
    assert _checks(folder) == []  # it says nothing


def test_a_config_that_is_damaged_or_not_supported_is_found(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model()
    _set(folder, num_local_experts=8)
    assert _checks(folder) == [("error", "config.supported")]
    (folder / "config.json").write_text('{"model_type": "lla')
    assert _checks(folder) == [("error", "config.supported")]


def test_quantised_weights_are_what_config_json_asks_for(tmp_path: Path) -> None:
    write_folders(tmp_path, "gptq")
    folder = tmp_path / "quantised"
    assert check_weights(folder) == []
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"group_size": 32', '"group_size": 64'))
    assert next(one.check for one in check_weights(folder)) == "weights.quantised"


def test_a_quantised_matrix_that_lies_the_other_way_is_found(tmp_path: Path) -> None:
    write_folders(tmp_path, "gptq")
    folder = tmp_path / "quantised"
    up, down = (f"model.layers.0.mlp.{one}_proj." for one in ("up", "down"))
    tensors = load_tensors(folder / WEIGHTS)
    changed = {name.replace(up, down): one for name, one in tensors.items() if name.startswith(up)}
    changed |= {name.replace(down, up): one for name, one in tensors.items() if name.startswith(down)}
    save_tensors(tensors | changed, folder / WEIGHTS)
    assert _checks(folder) == [("error", "weights.shape")]
