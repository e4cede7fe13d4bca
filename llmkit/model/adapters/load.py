"""An adapter out of PEFT's folder, or out of a GGUF file, by our names.

Shapes: r rank, in and out of a matrix (out, in), V rows of an embedding, D its width.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from safetensors import safe_open
from torch import Tensor

from llmkit.errors import ConfigError, DataError, MissingError, nearest, some_of
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.model_folder import read_header
from llmkit.formats.peft import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    FETCH_AGAIN,
    Part,
    PeftConfig,
    parse_tensor_name,
    read_peft_config,
)
from llmkit.model.adapters.gguf import load_gguf_adapter
from llmkit.model.adapters.names import PeftModule, model_tensors, peft_modules, whole_groups
from llmkit.model.adapters.weights import TRAINED_ON, AdapterWeights, LowRank
from llmkit.model.config import ModelConfig


def load_adapter(folder: Path, model_config: ModelConfig) -> AdapterWeights:
    """The values of an adapter: matrices that transformers fuses are split, A is then shared.

    Args:
        folder: holds adapter_config.json and adapter_model.safetensors; or a GGUF file.
        model_config: of the model that it is for.

    Raises:
        MissingError: a file is not there.
        ConfigError: the adapter is of a kind that is not supported, or not for such a model.
        DataError: it is damaged.
    """
    if is_gguf(folder):
        return load_gguf_adapter(folder, model_config)
    config = read_peft_config(folder)
    path = folder / ADAPTER_WEIGHTS
    factors: dict[str, dict[Part, Tensor]] = {}
    whole: dict[str, Tensor] = {}
    for name, tensor in _tensors(path).items():
        module, part = parse_tensor_name(name)
        if part == "whole":
            whole[module] = tensor
        elif part == "base":
            whole[f"{module}.weight"] = tensor
        else:
            factors.setdefault(module, {})[part] = tensor
    known = {alias: module for module in peft_modules(model_config) for alias in module.aliases}
    modules: dict[str, LowRank] = {}
    for name, parts in factors.items():
        if name not in known:
            _refuse(path, name, known, model_config)
        modules |= _split(path, known[name], parts, config)
    if not modules and not whole:
        raise DataError(f"{path}: no tensor of an adapter", hint=FETCH_AGAIN)
    return AdapterWeights(
        modules=modules,
        whole=_ours(path, whole, model_config),
        use_rslora=config.use_rslora,
        dropout=config.lora_dropout,
        base=config.base_model_name_or_path,
    )


def _tensors(path: Path) -> dict[str, Tensor]:
    pickled = path.with_suffix(".bin")
    if not path.is_file() and pickled.is_file():
        raise MissingError(
            f"{path.parent}: no {path.name} (found {pickled.name}, a pickle, never read: it can run code)",
            hint="ask for the adapter's safetensors file",
        )
    for info in read_header(path).tensors.values():
        if info.dtype not in ("F32", "F16", "BF16"):
            raise DataError(
                f"{path}: {info.name} is stored as {info.dtype}, no dtype of adapters", hint=FETCH_AGAIN
            )
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _split(
    path: Path, module: PeftModule, parts: Mapping[Part, Tensor], config: PeftConfig
) -> dict[str, LowRank]:
    """The factors of a module of theirs, for each of ours."""
    first: Part = "embedding_B" if module.is_embedding else "A"
    second: Part = "embedding_A" if module.is_embedding else "B"
    if not {first, second} <= parts.keys():
        lacking = next(part for part in (first, second) if part not in parts)
        raise DataError(f"{path}: {module.name} has no lora_{lacking}", hint=FETCH_AGAIN)
    A, B = parts[first], parts[second]
    if module.is_embedding:
        A, B = A.t().contiguous(), B.t().contiguous()  # (D, r), (r, V)
    rank = next((config.rank(alias) for alias in module.aliases), config.r)
    if A.shape != (rank, module.columns) or B.shape != (sum(module.rows), rank):
        raise DataError(
            f"{path}: factors of {module.name} are {list(parts[first].shape)} and "
            f"{list(parts[second].shape)}, which fit no rank of {rank} ({ADAPTER_CONFIG}) "
            f"and matrix of {[sum(module.rows), module.columns]} (the model)",
            hint=TRAINED_ON,
        )
    magnitude = parts.get("magnitude")
    if config.use_dora != (magnitude is not None):
        what = "has no lora_magnitude_vector" if config.use_dora else "has a lora_magnitude_vector"
        raise DataError(
            f"{path}: {module.name} {what}, and {ADAPTER_CONFIG} has use_dora {str(config.use_dora).lower()}",
            hint=FETCH_AGAIN,
        )
    lengths: list[Tensor | None] = [None] * len(module.ours)
    if magnitude is not None:
        if module.is_embedding:
            raise ConfigError(
                f"{path}: {module.name} is an embedding with DoRA, which is not supported",
                hint="merge the adapter into its base with peft, and use that model",
            )
        if magnitude.shape != (sum(module.rows),):
            raise DataError(f"{path}: {module.name}'s magnitude is {list(magnitude.shape)}", hint=FETCH_AGAIN)
        lengths = list(module.split(magnitude))
    scale = config.scale(module.name, rank)
    return {
        name: LowRank(A, rows, scale, length)
        for name, rows, length in zip(module.ours, module.split(B), lengths, strict=True)
    }


def _ours(path: Path, whole: Mapping[str, Tensor], model_config: ModelConfig) -> dict[str, Tensor]:
    """Whole tensors by our names."""
    if not whole:
        return {}
    ours: dict[str, Tensor] = {}
    left = dict(whole)
    if "embed_out.weight" in left:  # GPT-NeoX's head before transformers 5
        left["lm_head.weight"] = left.pop("embed_out.weight")
    shapes = model_tensors(model_config)
    for group in whole_groups(model_config, shapes):
        if not set(group.theirs) <= left.keys():
            continue
        tensors = [left.pop(name) for name in group.theirs]
        parts = (
            tensors
            if group.how == "same"
            else group.unpack(tensors, [shapes[name][0] for name in group.ours])
        )
        ours |= dict(zip(group.ours, parts, strict=True))
    if left:
        raise ConfigError(
            f"{path}: {some_of(sorted(left))}: a {model_config.model_type} model has no such tensor",
            hint=TRAINED_ON,
        )
    return ours


def _refuse(path: Path, name: str, known: Iterable[str], model_config: ModelConfig) -> NoReturn:
    if "expert" in name or name.endswith(("mlp.gate", "block_sparse_moe.gate", "mlp.router")):
        raise ConfigError(
            f"{path}: {name} is of experts, whose adapters are not supported",
            hint="merge the adapter into its base with peft, and use that model",
        )
    guess = nearest(name, known)
    raise ConfigError(
        f"{path}: it adapts {name}, which a {model_config.model_type} model does not have"
        + (f" (nearest: {guess})" if guess else ""),
        hint=TRAINED_ON,
    )
