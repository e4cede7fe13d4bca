"""A model to its folder: config.json, model.safetensors or its shards, generation_config.json."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from llmkit.formats.json_text import json_text
from llmkit.formats.model_folder import CONFIG, GENERATION_CONFIG, INDEX, MAX_SHARD_BYTES, WEIGHTS
from llmkit.formats.safetensors_write import system_errors
from llmkit.model.dtypes import kept_dtype
from llmkit.model.families.read import FORMAT_VERSION
from llmkit.model.file_names import SINUSOIDS
from llmkit.model.names import groups
from llmkit.model.positions import sinusoid_table
from llmkit.model.transformer import Transformer


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
        generation: see `save_config`.
    """
    save_config(model, folder, dtype=dtype, generation=generation)
    write_weights(file_tensors(model, dtype), folder, max_shard_bytes)


def save_config(
    model: Transformer,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    generation: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """The same without the weights.

    Args:
        model, folder, dtype: see `save_model`.
        generation: keys for generation_config.json beside the special ids.
        extra: further keys of config.json.
    """
    config = model.config.to_hf()
    name = str(next(model.parameters()).dtype if dtype is None else dtype).removeprefix("torch.")
    (folder / CONFIG).write_bytes(
        json_text(config | {"dtype": name, "torch_dtype": name} | dict(extra or {}))
    )
    ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    settings = {key: value for key, value in ids.items() if value is not None} | dict(generation or {})
    (folder / GENERATION_CONFIG).write_bytes(json_text(settings | {"transformers_version": FORMAT_VERSION}))


def file_tensors(model: Transformer, dtype: torch.dtype | None = None) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a model's files, in the names and layouts of its family, made as they are asked for.

    Args:
        model: whose.
        dtype: of the weights; None keeps what they have.
    """
    config, ours = model.config, model.state_dict()
    for group in groups(config, ours):
        packed = group.pack([ours[name] for name in group.ours])
        for name, tensor in zip(group.theirs, packed, strict=True):
            yield name, tensor.to(dtype=kept_dtype(name, dtype))
    if config.position == "sinusoidal":
        table = sinusoid_table(config.max_position_embeddings, config.hidden_size)
        yield SINUSOIDS, table.to(dtype or next(model.parameters()).dtype)


def write_weights(
    tensors: Iterable[tuple[str, Tensor]], folder: Path, max_shard_bytes: int = MAX_SHARD_BYTES
) -> None:
    """Write model.safetensors, or several files and an index; one file at a time is in memory.

    Args:
        tensors: names and values.
        folder: exists.
        max_shard_bytes: of the tensors in a file; a larger tensor has one to itself.
    """
    shards: list[tuple[Path, list[str]]] = []
    sizes = {"total_size": 0, "total_parameters": 0}
    for shard in split_shards(tensors, max_shard_bytes):
        path = folder / f"model-{len(shards) + 1:05d}.safetensors"
        with system_errors(path):
            save_file(_own(shard), path, metadata={"format": "pt"})
        shards.append((path, list(shard)))
        sizes["total_size"] += sum(tensor.nbytes for tensor in shard.values())
        sizes["total_parameters"] += sum(tensor.numel() for tensor in shard.values())
    if len(shards) == 1:
        shards[0][0].rename(folder / WEIGHTS)
        return
    weight_map: dict[str, str] = {}
    for number, (path, names) in enumerate(shards, start=1):
        file_name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        path.rename(folder / file_name)
        weight_map |= dict.fromkeys(names, file_name)
    (folder / INDEX).write_bytes(
        json_text({"metadata": sizes, "weight_map": dict(sorted(weight_map.items()))})
    )


def split_shards(tensors: Iterable[tuple[str, Tensor]], max_shard_bytes: int) -> Iterator[dict[str, Tensor]]:
    """Runs of whole tensors of at most `max_shard_bytes`, or one tensor where it is larger by itself."""
    shard: dict[str, Tensor] = {}
    filled = 0
    for name, tensor in tensors:
        if shard and filled + tensor.nbytes > max_shard_bytes:
            yield shard
            shard, filled = {}, 0
        shard[name] = tensor
        filled += tensor.nbytes
    yield shard


def _own(shard: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors laid out as safetensors asks, and none in the memory of another."""
    return {
        name: tensor.contiguous() if tensor.untyped_storage().nbytes() == tensor.nbytes else _copy(tensor)
        for name, tensor in shard.items()
    }


def _copy(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)
