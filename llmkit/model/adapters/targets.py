"""Which modules of a model get low-rank factors, and which are trained whole."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from llmkit.errors import ConfigError, nearest
from llmkit.formats.amount_text import plural
from llmkit.model.adapters.config import ALL_LINEAR, LoraConfig, ends_with
from llmkit.model.adapters.names import PeftModule, peft_modules
from llmkit.model.config import ModelConfig


class Target(NamedTuple):
    """A module to adapt."""

    name: str
    """Ours."""
    held_by: PeftModule
    rank: int
    scale: float


def lora_targets(model: ModelConfig, config: LoraConfig) -> list[Target]:
    """The modules that get factors, in the model's order.

    Raises:
        ConfigError: a target names no module, or all together name none; or there are not so many layers.
    """
    if config.layers is not None and config.layers > model.num_hidden_layers:
        raise ConfigError(
            f"LoRA in the last {plural(config.layers, 'layer')}: the model has {model.num_hidden_layers}",
            hint=f"give a number from 1 to {model.num_hidden_layers}",
        )
    modules = peft_modules(model)
    able = {ours: module for module in modules for ours in module.ours}
    if isinstance(config.targets, tuple):
        for target in config.targets:
            if not any(
                ends_with(alias, [target]) for ours, one in able.items() for alias in _names(ours, one)
            ):
                raise _unknown(target, model, modules)
    found = [
        Target(ours, module, config.rank_of(names), config.scale_of(names, config.rank_of(names)))
        for ours, module in able.items()
        for names in [_names(ours, module)]
        if _is_target(names, module, model, config)
    ]
    if not found:
        raise _unknown(str(config.targets), model, modules)
    return found


def modules_to_train(model: ModelConfig, config: LoraConfig, known: Iterable[str]) -> list[str]:
    """Our names of the modules that are trained whole.

    Args:
        model: its family's names are understood too.
        config: names them by their ends.
        known: all modules with parameters of their own.

    Raises:
        ConfigError: there is no such module.
    """
    known = list(known)
    aliases = {ours: module.aliases for module in peft_modules(model) for ours in module.ours[:1]}
    found = []
    for end in config.modules_to_save:
        named = [one for one in known if ends_with(one, [end]) or end in aliases.get(one, ())]
        named = named or [
            one for one in known if any(ends_with(name, [end]) for name in aliases.get(one, ()))
        ]
        if not named:
            guess = nearest(end, known)
            raise ConfigError(
                f"modules_to_save: the model has no module {end!r} that can be trained whole",
                hint=f"did you mean {guess}?" if guess else "give embed_tokens, lm_head or norm",
            )
        found += named
    return list(dict.fromkeys(found))


def _names(ours: str, module: PeftModule) -> tuple[str, ...]:
    return (ours, *module.aliases)


def _is_target(names: Sequence[str], module: PeftModule, model: ModelConfig, config: LoraConfig) -> bool:
    if config.layers is not None and (
        module.layer is None or module.layer < model.num_hidden_layers - config.layers
    ):
        return False
    if any(ends_with(name, config.modules_to_save) for name in names):
        return False
    if config.targets == ALL_LINEAR:
        return module.layer is not None
    if not config.is_target(names):
        return False
    if module.is_embedding and config.use_dora:
        raise ConfigError(
            f"{names[0]}: an embedding has no DoRA here",
            hint="put it among modules_to_save, or use plain LoRA",
        )
    return True


def _unknown(target: str, model: ModelConfig, modules: Iterable[PeftModule]) -> ConfigError:
    """With the ends of what could have been meant."""
    known = list(dict.fromkeys(name.rpartition(".")[2] for one in modules for name in (*one.ours, one.name)))
    guess = nearest(target, known)
    experts = "" if model.experts is None else " (experts and routers get none)"
    return ConfigError(
        f"LoRA: no module of a {model.model_type} model is named {target!r}{experts}",
        hint=f"did you mean {guess}?" if guess else f"targets: {', '.join(known)}",
    )
