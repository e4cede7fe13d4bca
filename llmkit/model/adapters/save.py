"""An adapter into PEFT's folder, under transformers' names.

Shapes: r rank, in and out of a matrix (out, in), V rows of an embedding, D its width.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from llmkit.errors import ConfigError
from llmkit.formats.peft import ADAPTER_CONFIG, ADAPTER_WEIGHTS, PeftConfig, peft_config_bytes, tensor_name
from llmkit.formats.safetensors_write import system_errors
from llmkit.model.adapters.add_lora import adapter_of
from llmkit.model.adapters.joined import Lengths, joined
from llmkit.model.adapters.lora import dense_weight
from llmkit.model.adapters.names import (
    PeftModule,
    ends_by_value,
    model_tensors,
    peft_modules,
    shortest_ends,
    whole_groups,
)
from llmkit.model.adapters.weights import TRAINED_ON, AdapterWeights, LowRank
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer


def save_adapter(model: Transformer, folder: Path, base: str) -> None:
    """Write adapter_config.json and adapter_model.safetensors; the config tells what the values are.

    Args:
        model: with an adapter.
        folder: exists, usually under a temporary name (formats/atomic.py).
        base: the model that it is for: base_model_name_or_path.

    Raises:
        UsageError: the model has no adapter.
    """

    def lengths(name: str) -> Tensor:
        return dense_weight(model.get_submodule(name)).detach().float().norm(dim=1)  # type: ignore[arg-type]

    write_adapter(folder, adapter_of(model), model.config, base, lengths=lengths)


def write_adapter(
    folder: Path,
    weights: AdapterWeights,
    model_config: ModelConfig,
    base: str,
    *,
    lengths: Lengths | None = None,
) -> None:
    """The same from values.

    Args:
        folder: exists.
        weights: modules that transformers fuses are joined: factors side by side, A once where it is shared.
        model_config: of the model that it is for.
        base: its name.
        lengths: of the rows of one of our modules, (out,): asked for with DoRA, of modules that are not
            adapted and are one matrix with some that are.

    Raises:
        ConfigError: some modules have DoRA and others none, or values do not fit the model.
    """
    modules = peft_modules(model_config)
    unknown = weights.modules.keys() - {name for module in modules for name in module.ours}
    if unknown:
        raise ConfigError(
            f"an adapter of {min(unknown)}, which a {model_config.model_type} model does not have",
            hint=TRAINED_ON,
        )
    if weights.use_dora and any(one.magnitude is None for one in weights.modules.values()):
        raise ConfigError("an adapter is DoRA in all modules or in none", hint="train it with one of them")
    made = {
        module: joined(module, weights.modules, lengths)
        for module in modules
        if any(name in weights.modules for name in module.ours)
    }
    tensors: dict[str, Tensor] = {}
    for module, one in made.items():
        if module.is_embedding:
            tensors[tensor_name(module.name, "embedding_A")] = one.B.t()
            tensors[tensor_name(module.name, "embedding_B")] = one.A.t()
            continue
        tensors[tensor_name(module.name, "A")] = one.A
        tensors[tensor_name(module.name, "B")] = one.B
        if one.magnitude is not None:
            tensors[tensor_name(module.name, "magnitude")] = one.magnitude
    whole = _whole(weights, model_config)
    tensors |= {tensor_name(name, "whole"): tensor for name, tensor in whole.items()}
    (folder / ADAPTER_CONFIG).write_bytes(
        peft_config_bytes(_config(made, modules, weights, _modules_to_save(whole, model_config), base))
    )
    owned = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with system_errors(folder / ADAPTER_WEIGHTS):
        save_file(owned, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})


def _whole(weights: AdapterWeights, model_config: ModelConfig) -> dict[str, Tensor]:
    """Tensors of modules_to_save by transformers' names."""
    if not weights.whole:
        return {}
    found: dict[str, Tensor] = {}
    for group in whole_groups(model_config, weights.whole):
        missing = [name for name in group.ours if name not in weights.whole]
        if missing:
            raise ConfigError(
                f"modules_to_save: {missing[0]} is one matrix with others that are trained whole",
                hint="train all of them whole, or none",
            )
        found |= dict(
            zip(group.theirs, group.pack([weights.whole[name] for name in group.ours]), strict=True)
        )
    return found


def _modules_to_save(whole: Mapping[str, Tensor], model_config: ModelConfig) -> list[str] | None:
    """Ends of names that peft takes for these modules: without a dot before them, so `norm` is q_norm too."""
    if not whole:
        return None
    everything = {
        name.rpartition(".")[0]
        for group in whole_groups(model_config, model_tensors(model_config))
        for name in group.theirs
    }
    chosen = {name.rpartition(".")[0] for name in whole}
    ends = set()
    for name in chosen:
        last = name.rpartition(".")[2]
        is_alone = not any(other.endswith(last) for other in everything - chosen)
        ends.add(last if is_alone else name)
    return sorted(ends)


def _config(
    joined: Mapping[PeftModule, LowRank],
    modules: Sequence[PeftModule],
    weights: AdapterWeights,
    modules_to_save: list[str] | None,
    base: str,
) -> PeftConfig:
    """What the values are: the commonest rank and alpha, and patterns for the others."""
    ranks = {module.name: one.rank for module, one in joined.items()}
    alphas = {
        module.name: _short(one.scale * (one.rank**0.5 if weights.use_rslora else one.rank))
        for module, one in joined.items()
    }
    rank = Counter(ranks.values()).most_common(1)[0][0] if ranks else 1
    alpha = Counter(alphas.values()).most_common(1)[0][0] if alphas else 1.0
    targets, layers = _targets(list(joined), modules)
    return PeftConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=weights.dropout,
        use_rslora=weights.use_rslora,
        use_dora=weights.use_dora,
        fan_in_fan_out=any(module.is_turned for module in joined),
        base_model_name_or_path=base,
        target_modules=targets,
        modules_to_save=modules_to_save,
        layers_to_transform=layers,
        rank_pattern=ends_by_value(ranks, rank),
        alpha_pattern=ends_by_value(alphas, alpha),
    )


def _targets(
    chosen: Sequence[PeftModule], modules: Sequence[PeftModule]
) -> tuple[list[str], list[int] | None]:
    """Ends of names for the adapted modules, and the layers where they are not in all."""
    names = {module.name for module in chosen}
    left = [module for module in modules if module.name not in names]
    ends = shortest_ends(names, [module.name for module in left])
    layers = {module.layer for module in chosen}
    if None not in layers:
        beside = [module.name for module in left if module.layer in layers]
        short = shortest_ends(names, beside)
        if max(map(len, short)) < max(map(len, ends)):  # ends do, where whole names would be needed
            return short, sorted(layer for layer in layers if layer is not None)
    return ends, None


def _short(value: float) -> float:
    """Without what a division and its inverse leave."""
    return float(round(value)) if abs(value - round(value)) < 1e-9 * abs(value) else value
