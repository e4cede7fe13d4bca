"""What a PEFT adapter folder changes in its base model: adapter_config.json and adapter_model.safetensors."""

import math
import re
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import DataError
from llmkit.formats.model_folder import TensorInfo, read_header, read_json_object
from llmkit.workflows.artefact import ADAPTER_CONFIG

ADAPTER_WEIGHTS = "adapter_model.safetensors"
_LOW_RANK = re.compile(
    r"^(?:base_model\.model\.)?(?P<module>.+)\.(?P<what>lora_A|lora_B|lora_magnitude_vector"
    r"|lora_embedding_A|lora_embedding_B)(?:\.weight)?$"
)


class AdaptedModule(msgspec.Struct, frozen=True, kw_only=True):
    """All the modules of one name (q_proj, …) over the layers."""

    name: str
    modules: int
    ranks: list[int]
    parameters: int


class AdapterReport(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter folder."""

    schema: str = "llmkit.show/1"
    kind: str = "adapter"
    path: str
    peft_type: str
    base_model: str | None
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
    """An adapter folder.

    Raises:
        MissingError: the weights are not there.
        DataError: the config or the header is damaged, or has no rank.
    """
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
    dtypes: dict[str, int] = {}
    for tensor in tensors:
        dtypes[tensor.dtype] = dtypes.get(tensor.dtype, 0) + tensor.numel
    return AdapterReport(
        path=str(folder),
        peft_type=str(config.get("peft_type", "unknown")),
        base_model=config.get("base_model_name_or_path"),
        rank=rank,
        alpha=alpha,
        scaling=_scaling(rank, alpha, bool(config.get("use_rslora"))),
        variant=_variant(config),
        target_modules=config.get("target_modules"),
        modules_to_save=config.get("modules_to_save"),
        modules=_modules(tensors),
        parameters=sum(tensor.numel for tensor in tensors),
        size_bytes=sum(tensor.nbytes for tensor in tensors),
        dtypes=dtypes,
        refused_by=_refused_by(config, tensors),
    )


def _scaling(rank: float | None, alpha: float | None, rslora: bool) -> float | None:
    if not rank or alpha is None:
        return None
    return alpha / math.sqrt(rank) if rslora else alpha / rank


def _variant(config: dict[str, Any]) -> str:
    words = [word for word in ("rslora", "dora") if config.get(f"use_{word}")]
    return " + ".join(words) or "lora"


def _modules(tensors: list[TensorInfo]) -> list[AdaptedModule]:
    """Grouped by the module's last name; tensors that are not low-rank stand under their own."""
    groups: dict[str, dict[str, list[TensorInfo]]] = {}
    for tensor in tensors:
        match = _LOW_RANK.match(tensor.name)
        module = match["module"] if match else tensor.name.removesuffix(".weight").removesuffix(".bias")
        groups.setdefault(module.rpartition(".")[2], {}).setdefault(module, []).append(tensor)
    modules = []
    for name, members in sorted(groups.items()):
        inside = [tensor for group in members.values() for tensor in group]
        ranks = {
            tensor.shape[0] for tensor in inside if ".lora_A" in tensor.name or "embedding_A" in tensor.name
        }
        modules.append(
            AdaptedModule(
                name=name,
                modules=len(members),
                ranks=sorted(ranks),
                parameters=sum(tensor.numel for tensor in inside),
            )
        )
    return modules


def _refused_by(config: dict[str, Any], tensors: list[TensorInfo]) -> dict[str, str]:
    """Seen in vLLM's PEFTHelper and llama.cpp's convert_lora_to_gguf.py (2025-02)."""
    refused = {}
    if config.get("use_dora"):
        refused["vLLM"] = "takes no DoRA"
    elif config.get("modules_to_save"):
        refused["vLLM"] = "takes no modules_to_save"
    if any(not re.search(r"\.lora_[AB]\.", tensor.name) for tensor in tensors):
        refused["llama.cpp"] = "takes lora_A and lora_B tensors only"
    elif config.get("use_rslora"):
        refused["llama.cpp"] = "ignores use_rslora and scales by alpha / rank"
    return refused
