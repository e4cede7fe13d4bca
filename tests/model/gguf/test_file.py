"""A GGUF file before its weights are read: its config, scaling included, and its tensors."""

from pathlib import Path

import gguf_models
import pytest
from gguf_copies import split_gguf
from gguf_models import case_config, random_model

from llmkit.errors import DataError, MissingError
from llmkit.formats.gguf.values import Typed
from llmkit.formats.gguf.write import write_gguf
from llmkit.model.gguf.file import read_gguf_config, read_gguf_tensors
from llmkit.model.gguf.save import gguf_model


def _write(path: Path, changes: dict[str, object], **more: object) -> Path:
    made = gguf_model(random_model(case_config("llama", changes)), "q8_0")
    with path.open("wb") as stream:
        write_gguf(stream, {**made.metadata, **more}, made.tensors)  # type: ignore[dict-item]
    return path


def test_the_config_has_the_scaling_that_a_tensor_tells(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.gguf", gguf_models.LLAMA3)
    assert read_gguf_config(path)["rope_scaling"]["rope_type"] == "llama3"


def test_tensors_are_listed_in_torchs_shapes_where_they_are(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.gguf", {})
    tensors = read_gguf_tensors(path)
    one = tensors["blk.0.ffn_down.weight"]
    assert (one.shape, one.dtype, one.nbytes) == ((64, 96), "Q8_0", 64 * 3 * 34)
    assert (one.file, one.numel) == (path, 64 * 96)
    assert max(one.offset + one.nbytes for one in tensors.values()) <= path.stat().st_size


def test_parts_and_damage_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one of 2 files"):
        read_gguf_config(_write(tmp_path / "a.gguf", {}, **{"split.count": Typed("u16", 2)}))
    whole = _write(tmp_path / "b.gguf", {}).read_bytes()
    (tmp_path / "c.gguf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut short"):
        read_gguf_tensors(tmp_path / "c.gguf")
    with pytest.raises(MissingError):
        read_gguf_tensors(tmp_path / "none.gguf")


def test_a_model_in_parts_has_the_config_and_the_tensors_of_the_whole(tmp_path: Path) -> None:
    whole = _write(tmp_path / "a.gguf", gguf_models.LLAMA3)
    files = split_gguf(whole, tmp_path / "parts", 15, small_first=True)
    assert read_gguf_config(files[0]) == read_gguf_config(whole)  # the scaling is a tensor of another part
    tensors, alone = read_gguf_tensors(files[0]), read_gguf_tensors(whole)
    assert {name: (one.shape, one.dtype) for name, one in tensors.items()} == {
        name: (one.shape, one.dtype) for name, one in alone.items()
    }
    assert {one.file for one in tensors.values()} == set(files[1:])
    for name in ("output_norm.weight", "blk.3.ffn_down.weight"):
        one, other = tensors[name], alone[name]
        assert (
            one.file.read_bytes()[one.offset :][: one.nbytes]
            == (whole.read_bytes()[other.offset :][: other.nbytes])
        )
