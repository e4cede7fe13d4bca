"""What an adapter changes in its base model: adapter_config.json and its weights, or a GGUF file."""

from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import DataError
from llmkit.formats.gguf.adapter import read_gguf_adapter
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.model_folder import TensorInfo, read_header, read_json_object
from llmkit.formats.peft import ADAPTER_CONFIG, ADAPTER_WEIGHTS, lora_scale, parse_tensor_name, refused_by
from llmkit.model.gguf.file import read_gguf_tensors
from llmkit.model.gguf.keys import shortest


class AdaptedModule(msgspec.Struct, frozen=True, kw_only=True):
    """All the modules of one name (q_proj, …) over the layers."""

    name: str
    modules: int
    ranks: list[int]
    parameters: int


class AdapterReport(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter's folder, or its GGUF file."""

    schema: str = "llmkit.show/1"
    kind: str = "adapter"
    path: str
    peft_type: str
    base_model: str | None
    architecture: str | None = None
    """Of its base, in llama.cpp's word: of a GGUF file."""
    rank: int | None
    alpha: float | None
    scaling: float | None
    """What B·A is multiplied with: alpha / rank, or alpha / sqrt(rank) for rsLoRA."""
    variant: str
    """lora, rslora, dora, or both words."""
    target_modules: list[str] | str | None
    modules_to_save: list[str] | None
    modules: list[AdaptedModule]
    parameters: int
    size_bytes: int
    dtypes: dict[str, int]
    refused_by: dict[str, str]
    """Readers that do not take this adapter, each with the reason (vLLM, llama.cpp)."""


def show_adapter(folder: Path) -> AdapterReport:
    """An adapter.

    Raises:
        MissingError: the weights are not there.
        ConfigError: a GGUF file's is of a kind that is not supported.
        DataError: the config or the header is damaged, or has no rank.
    """
    if is_gguf(folder):
        return _show_gguf(folder)
    config = read_json_object(folder / ADAPTER_CONFIG)
    tensors = list(read_header(folder / ADAPTER_WEIGHTS).tensors.values())
    rank, alpha = config.get("r"), config.get("lora_alpha")
    for name, value in (("r", rank), ("lora_alpha", alpha)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or value <= 0
        ):
            raise DataError(
                f"{folder / ADAPTER_CONFIG}: {name} is not a positive number (found {value!r})",
                hint="fetch or write the adapter again",
            )
    return AdapterReport(
        path=str(folder),
        peft_type=str(config.get("peft_type", "unknown")),
        base_model=config.get("base_model_name_or_path"),
        rank=rank,
        alpha=alpha,
        scaling=lora_scale(alpha, rank, rslora=bool(config.get("use_rslora"))) if rank and alpha else None,
        variant=_variant(config),
        target_modules=config.get("target_modules"),
        modules_to_save=config.get("modules_to_save"),
        modules=_modules(tensors),
        parameters=sum(tensor.numel for tensor in tensors),
        size_bytes=sum(tensor.nbytes for tensor in tensors),
        dtypes=_dtypes(tensors),
        refused_by=refused_by(config, [tensor.name for tensor in tensors]),
    )


def adapter_tensors(path: Path) -> dict[str, TensorInfo]:
    """The tensors of an adapter's folder or GGUF file, by their names there.

    Raises:
        MissingError: they are not there.
        DataError: the header is damaged.
    """
    return read_gguf_tensors(path) if is_gguf(path) else read_header(path / ADAPTER_WEIGHTS).tensors


def _show_gguf(path: Path) -> AdapterReport:
    told, tensors = read_gguf_adapter(path), list(adapter_tensors(path).values())
    groups: dict[str, list[str]] = {}
    for name in told.pairs:
        groups.setdefault(name.removesuffix(".weight").rpartition(".")[2], []).append(name)
    ranks = [pair.rank for pair in told.pairs.values()]
    rank = max(set(ranks), key=ranks.count)
    return AdapterReport(
        path=str(path),
        peft_type="LORA",
        base_model=told.base,
        architecture=told.architecture,
        rank=rank,
        alpha=shortest(told.alpha) or None,
        scaling=shortest(told.alpha) / rank if told.alpha else 1.0,
        variant="lora",
        target_modules=sorted(groups),
        modules_to_save=None,
        modules=[
            AdaptedModule(
                name=name,
                modules=len(members),
                ranks=sorted({told.pairs[one].rank for one in members}),
                parameters=sum(half.numel for one in members for half in told.pairs[one].halves),
            )
            for name, members in sorted(groups.items())
        ],
        parameters=sum(tensor.numel for tensor in tensors),
        size_bytes=sum(tensor.nbytes for tensor in tensors),
        dtypes=_dtypes(tensors),
        refused_by={},
    )


def _dtypes(tensors: list[TensorInfo]) -> dict[str, int]:
    """Numbers of each dtype."""
    dtypes: dict[str, int] = {}
    for tensor in tensors:
        dtypes[tensor.dtype] = dtypes.get(tensor.dtype, 0) + tensor.numel
    return dtypes


def _variant(config: dict[str, Any]) -> str:
    words = [word for word in ("rslora", "dora") if config.get(f"use_{word}")]
    return " + ".join(words) or "lora"


def _modules(tensors: list[TensorInfo]) -> list[AdaptedModule]:
    """Grouped by the module's last name; tensors that are not low-rank stand under their own."""
    groups: dict[str, dict[str, list[TensorInfo]]] = {}
    for tensor in tensors:
        module = parse_tensor_name(tensor.name).module.removesuffix(".weight").removesuffix(".bias")
        groups.setdefault(module.rpartition(".")[2], {}).setdefault(module, []).append(tensor)
    modules = []
    for name, members in sorted(groups.items()):
        inside = [tensor for group in members.values() for tensor in group]
        ranks = {one.shape[0] for one in inside if parse_tensor_name(one.name).part in ("A", "embedding_A")}
        modules.append(
            AdaptedModule(
                name=name,
                modules=len(members),
                ranks=sorted(ranks),
                parameters=sum(tensor.numel for tensor in inside),
            )
        )
    return modules
