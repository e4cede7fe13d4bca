"""A model on disk, in whichever of two forms: a Hugging Face folder, or GGUF. No torch."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmkit.errors import ConfigError, MissingError, UsageError, as_word
from llmkit.formats.gguf.adapter import ADAPTER, IMATRIX, gguf_kind, is_gguf_adapter
from llmkit.formats.gguf.header import read_gguf_header
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.gguf.parts import read_gguf_parts
from llmkit.formats.json_text import is_number
from llmkit.formats.model_folder import (
    CONFIG,
    CONFIG_DTYPES,
    GENERATION_CONFIG,
    INDEX,
    WEIGHTS,
    TensorInfo,
    names_dtype,
    read_config,
    read_generation_config,
    read_tensors,
    weight_files,
)
from llmkit.formats.peft import ADAPTER_CONFIG
from llmkit.model.gguf.file import read_gguf_config, read_gguf_tensors
from llmkit.model.quantised.quantisation import quantisation
from llmkit.model.quantised.stored import plain_tensors

NO_TOKENIZER = (None, "none", "no_vocab")
"""Values of tokenizer.ggml.model in a file without one."""
SAMPLING_KEYS = {
    "temperature": ("general.sampling.temp", "f32"),
    "top_k": ("general.sampling.top_k", "i32"),
    "top_p": ("general.sampling.top_p", "f32"),
    "min_p": ("general.sampling.min_p", "f32"),
}
"""Keys of generation_config.json, and those of GGUF files with their types."""


def is_model(path: Path) -> bool:
    """Whether a path is a folder or a GGUF file."""
    return path.is_dir() or is_gguf(path)


def is_adapter(path: Path) -> bool:
    """Whether a path is an adapter: PEFT's folder, or a GGUF file.

    Raises:
        DataError: it is a damaged GGUF file.
    """
    return (path / ADAPTER_CONFIG).is_file() or is_gguf_adapter(path)


def check_model(path: Path) -> None:
    """Refuse what is neither.

    Raises:
        MissingError: the path is no folder and no GGUF file.
        UsageError: it is an adapter, or an importance matrix.
        DataError: it is a damaged GGUF file.
    """
    kind = gguf_kind(path) if is_gguf(path) else "model"
    if kind == ADAPTER or ((path / ADAPTER_CONFIG).is_file() and not (path / CONFIG).is_file()):
        raise UsageError(
            f"{path}: an adapter, not a model",
            hint=f"put it into its base first: llmkit merge BASE --adapter {path} -o merged",
        )
    if kind == IMATRIX:
        raise UsageError(
            f"{path}: an importance matrix, not a model", hint=f"llmkit quantize MODEL OUT --imatrix {path}"
        )
    if not is_model(path):
        what = "no model folder and no GGUF file" if path.exists() else "no such model folder or GGUF file"
        hint = "give a model: a folder with config.json and weights, or a .gguf file"
        if path.is_file() and (path.parent / CONFIG).is_file():  # its weights, or its config.json
            hint = f"give the folder that it is in: {as_word(path.parent)}"
        elif _is_hub_name(path):
            hint = f"llmkit downloads nothing: hf download {path} --local-dir {path.name}"
        raise MissingError(f"{path}: {what}", hint=hint)


def _is_hub_name(path: Path) -> bool:
    """Whether a path of which nothing is there reads as Qwen/Qwen3-0.6B, which other programs download."""
    return (
        re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", str(path)) is not None
        and path.suffix != ".gguf"
        and not path.parent.exists()
    )


def read_model_config(path: Path) -> dict[str, Any]:
    """The model's config.json, or what a GGUF file has in its place.

    Where config.json names no dtype, as gpt-oss's does not, it is that of the weights beside it, as
    transformers has it.

    Raises:
        MissingError: no such file.
        ConfigError, DataError: it is damaged, or a GGUF file of an architecture that is not supported; no
            dtype is named, and the header of the weights is damaged.
    """
    if is_gguf(path):
        return read_gguf_config(path)
    config = read_config(path)
    return config if names_dtype(config) else config | _stored_dtype(path)


def _stored_dtype(folder: Path) -> dict[str, str]:
    """The dtype of most of a folder's plain numbers, as config.json names it; none where there are none."""
    if not any((folder / name).is_file() for name in (WEIGHTS, INDEX)):
        return {}
    numbers = Counter[str]()
    for tensor in read_tensors(folder).values():
        if tensor.dtype in CONFIG_DTYPES:
            numbers[CONFIG_DTYPES[tensor.dtype]] += tensor.numel
    return {"dtype": max(numbers, key=numbers.__getitem__)} if numbers else {}


def config_source(path: Path) -> str:
    """Where the config stands, for messages."""
    return str(path / CONFIG) if path.is_dir() else str(path)


def read_model_tensors(path: Path) -> dict[str, TensorInfo]:
    """Every tensor from the headers, by its name in the files.

    Raises:
        MissingError: a file is not there.
        DataError: a header is damaged.
    """
    return read_gguf_tensors(path) if is_gguf(path) else read_tensors(path)


def read_plain_tensors(path: Path) -> dict[str, TensorInfo]:
    """The same, with each quantised matrix of a folder as one tensor, a QuantisedInfo, under its plain name.

    Tensors are as they are where config.json tells of a way that is not read.

    Raises:
        MissingError, DataError: as `read_model_tensors`; the tensors of a matrix do not fit each other.
    """
    tensors = read_model_tensors(path)
    if is_gguf(path) or not (path / CONFIG).is_file():
        return tensors
    try:
        told = quantisation(read_config(path), config_source(path))
    except ConfigError:
        return tensors
    return plain_tensors(tensors, told)


def read_model_generation(path: Path) -> tuple[dict[str, Any], str]:
    """generation_config.json, or what a GGUF file has in its place (empty for none), and where it stands.

    Raises:
        DataError: it is damaged.
    """
    if not is_gguf(path):
        return read_generation_config(path) or {}, str(path / GENERATION_CONFIG)
    metadata = read_gguf_header(path, keep_arrays=True).metadata
    settings = {name: metadata[key] for name, (key, _) in SAMPLING_KEYS.items() if key in metadata}
    if settings:  # transformers draws nothing unless it is told to, and knows no temperature of 0
        temperature = settings.get("temperature")
        settings["do_sample"] = not (is_number(temperature) and temperature <= 0)
        if not settings["do_sample"]:
            del settings["temperature"]
    if _names_tokenizer(metadata):
        from llmkit.tokens.gguf.vocabulary import gguf_stop_ids

        stops = gguf_stop_ids(metadata, str(path))
        settings["eos_token_id"] = stops[0] if len(stops) == 1 else list(stops)
    return settings, str(path)


def carries_tokenizer(path: Path) -> bool:
    """Whether a GGUF file has a tokenizer.

    Raises:
        DataError: it is damaged.
    """
    return _names_tokenizer(read_gguf_header(path).metadata)


def _names_tokenizer(metadata: Mapping[str, Any]) -> bool:
    return metadata.get("tokenizer.ggml.model") not in NO_TOKENIZER


def model_files(path: Path) -> list[Path]:
    """The files that a model is: those of a folder are its config.json and its weights.

    Raises:
        MissingError: a file is not there.
        DataError: a GGUF file is damaged, or is one of several and not the first.
    """
    if is_gguf(path):
        return [part.path for part in read_gguf_parts(path)]
    return [path / CONFIG, *weight_files(path)]
