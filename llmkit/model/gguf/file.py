"""A GGUF model, of one file or several, before any weight is read: its config.json and tensors. No torch."""

from pathlib import Path
from typing import Any

from llmkit.formats.gguf.data import GgufData
from llmkit.formats.model_folder import TensorInfo
from llmkit.model.gguf.config import gguf_config
from llmkit.model.gguf.rope import TABLES


def gguf_file_config(data: GgufData) -> dict[str, Any]:
    """The config.json of a whole model: unlike a header alone, it has the tensors that stretch positions.

    Raises:
        ConfigError: an architecture, or something in it, that is not supported: it is named.
    """
    tables = {name: data.values(name).reshape(-1).tolist() for name in TABLES if name in data.tensors}
    return gguf_config(data.header, str(data.path), tables)


def read_gguf_config(path: Path) -> dict[str, Any]:
    """The config.json of a file, or of the first of several.

    Raises:
        MissingError: no such file, or one of several is not there.
        ConfigError: as `gguf_file_config`.
        DataError: a file is damaged, or they are not of one model.
    """
    return gguf_file_config(GgufData(path))


def read_gguf_tensors(path: Path) -> dict[str, TensorInfo]:
    """Every tensor of a file or of several, by its name in them; the dtype is ggml's word.

    Raises:
        MissingError, DataError: as `read_gguf_config`.
    """
    data = GgufData(path)
    return {
        one.name: TensorInfo(one.name, one.type, one.dims[::-1], one.nbytes, data.file(one.name), one.offset)
        for one in data.header.tensors
    }
