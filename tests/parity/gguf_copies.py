"""GGUF files written again by the gguf package: cut into several, as published models are, or plain."""

from pathlib import Path
from typing import Any

import pytest


def split_gguf(whole: Path, folder: Path, most: int, *, small_first: bool = False) -> list[Path]:
    """Write the parts of a file, in order, under its own name.

    Args:
        whole: the file.
        folder: where to, other than its own.
        most: tensors of a part.
        small_first: the first part has metadata alone.
    """
    gguf = pytest.importorskip("gguf", reason="the gguf package, which cuts files, is not installed")
    folder.mkdir(exist_ok=True)
    reader = gguf.GGUFReader(whole)
    writer = gguf.GGUFWriter(
        folder / whole.name, _architecture(reader), split_max_tensors=most, small_first_shard=small_first
    )
    _copy_keys(gguf, reader, writer)
    for tensor in reader.tensors:
        kind = tensor.tensor_type
        plain = kind.name in ("F32", "F16", "F64")
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=None if plain else kind)
    _write(writer)
    return sorted(folder.glob(f"{whole.stem}-*.gguf"))


def plain_gguf(coded: Path, path: Path) -> Path:
    """Write a file's numbers as float32, as the gguf package reads them."""
    gguf = pytest.importorskip("gguf", reason="the gguf package, which reads codes, is not installed")
    reader = gguf.GGUFReader(coded)
    writer = gguf.GGUFWriter(path, _architecture(reader))
    _copy_keys(gguf, reader, writer)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type))
    _write(writer)
    return path


def _architecture(reader: Any) -> str:
    word: str = reader.fields["general.architecture"].contents()
    return word


def _copy_keys(gguf: Any, reader: Any, writer: Any) -> None:
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kinds = field.types
        inner = kinds[-1] if kinds[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kinds[0], sub_type=inner)


def _write(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
