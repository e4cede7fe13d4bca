"""A GGUF file as a model: its config.json and its tensors, before any weight is read. No torch."""

from pathlib import Path
from typing import Any

from llmkit.errors import DataError
from llmkit.formats.gguf_data import GgufData
from llmkit.formats.gguf_header import read_gguf_header
from llmkit.formats.model_folder import TensorInfo
from llmkit.model.gguf_config import gguf_config
from llmkit.model.gguf_rope import TABLES

_SPLIT = "split.count"


def gguf_file_config(data: GgufData) -> dict[str, Any]:
    """The config.json of a whole file: unlike a header alone, it has the tensors that stretch positions.

    Raises:
        ConfigError: an architecture, or something in it, that is not supported: it is named.
        DataError: the file is one of several.
    """
    parts = data.header.metadata.get(_SPLIT, 1)
    if parts not in (0, 1):
        raise DataError(
            f"{data.path}: one of {parts} files that are one model",
            hint="join them: llama-gguf-split --merge FIRST.gguf WHOLE.gguf",
        )
    tables = {name: data.values(name).reshape(-1).tolist() for name in TABLES if name in data.tensors}
    return gguf_config(data.header, str(data.path), tables)


def read_gguf_config(path: Path) -> dict[str, Any]:
    """The config.json of a file.

    Raises:
        MissingError: no such file.
        ConfigError, DataError: as `gguf_file_config`, or the file is damaged.
    """
    return gguf_file_config(GgufData(path))


def read_gguf_tensors(path: Path) -> dict[str, TensorInfo]:
    """Every tensor, by its name in the file; the dtype is ggml's word.

    Raises:
        MissingError: no such file.
        DataError: it is damaged.
    """
    header = GgufData(path, read_gguf_header(path)).header
    return {
        one.name: TensorInfo(one.name, one.type, one.dims[::-1], one.nbytes, path, one.offset)
        for one in header.tensors
    }
