"""A model from and to its folder: config.json, model.safetensors or its shards, generation_config.json.

Weights are mapped from the file, not read: tensors that need no change of dtype or layout are the file's own
pages, copied only where they are written to.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from llmkit.errors import ConfigError, DataError
from llmkit.formats.model_folder import (
    CONFIG,
    CONFIG_DTYPES,
    GENERATION_CONFIG,
    INDEX,
    WEIGHTS,
    TensorInfo,
    read_config,
    read_tensors,
)
from llmkit.model.config import ModelConfig
from llmkit.model.hf_config import FORMAT_VERSION
from llmkit.model.positions import sinusoid_table
from llmkit.model.shapes import Shape, stored_weights, tensor_shapes
from llmkit.model.transformer import Transformer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MAX_SHARD_BYTES = 5_000_000_000
_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def load_model(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> Transformer:
    """The model of a folder, ready to use, in evaluation mode.

    Args:
        folder: holds config.json and safetensors weights.
        dtype: of every weight; None keeps what config.json says.
        device: where to put it.

    Raises:
        MissingError: a file is not there.
        ConfigError: config.json asks for something that is not supported.
        DataError: the weights are damaged or are not this config's.
    """
    config = ModelConfig.from_hf(read_config(folder), source=str(folder / CONFIG))
    dtype = dtype or dtype_of(config)
    with torch.device("meta"):
        model = Transformer(config)
    stored = stored_weights(read_tensors(folder), config)
    _check_names(folder, stored, tensor_shapes(config))
    tensors = {name: tensor.to(dtype=dtype, device=device) for name, tensor in _read(stored)}
    _check_shared(folder, tensors, config)
    model.load_state_dict(tensors, assign=True)
    return model.eval()


def save_model(
    model: Transformer,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    generation: Mapping[str, Any] | None = None,
) -> None:
    """Write config.json, the weights and generation_config.json into a folder.

    The same weights give the same bytes. (safetensors shuffles its metadata when there is more than the one
    entry `format`: what made the model is told in llmkit.json.)

    Args:
        model: its config is written, with the dtype that is stored.
        folder: exists, usually under a temporary name (formats/atomic.py).
        dtype: to store; None keeps the dtype that the weights have.
        max_shard_bytes: a model larger than this is written in several files with an index.
        generation: keys for generation_config.json beside the special ids.
    """
    stored = {name: tensor.to(dtype=dtype) for name, tensor in model.state_dict().items()}
    config = model.config.to_hf()
    name = str(next(model.parameters()).dtype if dtype is None else dtype).removeprefix("torch.")
    _write_json(folder / CONFIG, config | {"dtype": name, "torch_dtype": name})
    ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    settings = {key: value for key, value in ids.items() if value is not None} | dict(generation or {})
    _write_json(folder / GENERATION_CONFIG, settings | {"transformers_version": FORMAT_VERSION})
    _write_weights(stored, folder, max_shard_bytes)


def dtype_of(config: ModelConfig) -> torch.dtype:
    """The torch dtype that a config names.

    Raises:
        ConfigError: it is none that weights are kept in.
    """
    try:
        return DTYPES[config.dtype.removeprefix("torch.")]
    except KeyError:
        raise ConfigError(
            f"dtype {config.dtype!r} is not supported", hint=f"use {', '.join(DTYPES)}"
        ) from None


def _write_weights(tensors: dict[str, Tensor], folder: Path, max_shard_bytes: int) -> None:
    shards = list(_split(tensors, max_shard_bytes))
    if len(shards) == 1:
        save_file(_own(shards[0]), folder / WEIGHTS, metadata={"format": "pt"})
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file_name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(_own(shard), folder / file_name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(shard, file_name)
    sizes = {
        "total_size": sum(tensor.nbytes for tensor in tensors.values()),
        "total_parameters": sum(tensor.numel() for tensor in tensors.values()),
    }
    _write_json(folder / INDEX, {"metadata": sizes, "weight_map": dict(sorted(weight_map.items()))})


def _split(tensors: dict[str, Tensor], max_shard_bytes: int) -> Iterator[dict[str, Tensor]]:
    """Runs of whole tensors of at most `max_shard_bytes`, or one tensor where it is larger by itself."""
    shard: dict[str, Tensor] = {}
    filled = 0
    for name, tensor in tensors.items():
        if shard and filled + tensor.nbytes > max_shard_bytes:
            yield shard
            shard, filled = {}, 0
        shard[name] = tensor
        filled += tensor.nbytes
    yield shard


def _own(shard: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in shard.items()}


def _read(stored: Mapping[str, TensorInfo]) -> Iterator[tuple[str, Tensor]]:
    """Each tensor, mapped from its file."""
    by_file: dict[Path, list[tuple[str, str]]] = {}
    for name, tensor in stored.items():
        by_file.setdefault(tensor.file, []).append((name, tensor.name))
    for file, names in by_file.items():
        with safe_open(file, framework="pt") as stream:
            for name, stored_name in names:
                yield name, stream.get_tensor(stored_name)


def _check_names(folder: Path, stored: Mapping[str, TensorInfo], expected: Mapping[str, Shape]) -> None:
    missing = sorted(expected.keys() - stored.keys())
    surplus = sorted(stored.keys() - expected.keys() - {_HEAD})  # a tied head may be stored all the same
    if missing or surplus:
        what = f"lack {_some(missing)}" if missing else f"have {_some(surplus)}"
        raise DataError(
            f"{folder}: the weights {what}, which config.json tells otherwise",
            hint="the config.json and the safetensors of one model belong together",
        )
    for name, shape in expected.items():
        if stored[name].shape != shape:
            raise DataError(
                f"{folder}: {name} is {list(stored[name].shape)}, config.json asks for {list(shape)}",
                hint="the config.json and the safetensors of one model belong together",
            )
        if stored[name].dtype not in CONFIG_DTYPES:
            raise DataError(
                f"{folder}: {name} is stored as {stored[name].dtype}, which is not supported yet",
                hint=f"ask for the model's {', '.join(DTYPES)} weights",
            )


def _check_shared(folder: Path, tensors: dict[str, Tensor], config: ModelConfig) -> None:
    """What is stored twice or could be computed must agree with what the config says it is."""
    if config.tie_word_embeddings and _HEAD in tensors:
        embedding = "transformer.wte.weight" if config.model_type == "gpt2" else _EMBEDDING
        if not torch.equal(tensors.pop(_HEAD), tensors[embedding]):
            raise DataError(
                f"{folder}: {_HEAD} differs from the embedding that tie_word_embeddings says it is",
                hint='set "tie_word_embeddings": false in config.json',
            )
    if config.position == "sinusoidal":
        table = tensors["transformer.wpe.weight"]
        expected = sinusoid_table(*table.shape).to(table)
        if not torch.allclose(table.float(), expected.float(), atol=1e-2):
            raise DataError(
                f"{folder}: transformer.wpe.weight is not the sinusoids that position_embedding_type names",
                hint="remove position_embedding_type from config.json to load it as learned positions",
            )


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
