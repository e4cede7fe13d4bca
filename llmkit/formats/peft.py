"""PEFT's adapter folder but for the tensors themselves: its config, and the names of tensors. No torch.

    adapter_config.json          what the adapter is: rank, alpha, which modules
    adapter_model.safetensors    base_model.model.MODULE.lora_A.weight (r, in), .lora_B.weight (out, r), and
                                 of other kinds of adapters the tensors that `Part` names

MODULE is a module of transformers' model. Seen in peft 0.21.
"""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from llmkit.errors import ConfigError, DataError, MissingError
from llmkit.formats.json_text import json_text
from llmkit.formats.model_folder import read_json_object

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."

_Value = TypeVar("_Value")
Part = Literal["A", "B", "magnitude", "embedding_A", "embedding_B", "base", "whole"]
"""
A, B: the two factors of a matrix's change; magnitude: DoRA's length of each row.
embedding_A (r, V), embedding_B (D, r): the same of an embedding (V, D), whose change is (B A) turned.
base: a copy of the weight that is adapted, which peft puts beside the factors of an embedding.
whole: a tensor in place of the base's (modules_to_save).
"""
_PARTS: dict[str, Part] = {
    **{"lora_A": "A", "lora_B": "B", "lora_magnitude_vector": "magnitude"},
    **{"lora_embedding_A": "embedding_A", "lora_embedding_B": "embedding_B"},
}
_LOW_RANK = re.compile(rf"^(?P<module>.+)\.(?P<what>{'|'.join(_PARTS)})(?:\.weight)?$")
_CHANGE_THE_BASE = ("pissa", "olora", "corda", "lora_ga")
_NO_MATTER = (
    *("task_type", "auto_mapping", "peft_version", "revision", "inference_mode", "exclude_modules"),
    *("layers_to_transform", "layers_pattern", "megatron_config", "megatron_core", "loftq_config"),
    *("eva_config", "corda_config", "lora_ga_config", "qalora_group_size", "ensure_weight_tying"),
    *("lora_dropout", "init_lora_weights", "runtime_config", "peft_type", "bias", "base_model_name_or_path"),
)
"""Keys that say how an adapter was made, or what its tensors say themselves."""
FETCH_AGAIN = "fetch or write the adapter again"
_OTHER = "merge the adapter into its base with peft, and use that model"
_PROMPTS = (
    *("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING"),
    *("ADAPTION_PROMPT", "CPT", "CARTRIDGE"),
)
"""Kinds that learn what is put before the text: there is nothing that merges into weights."""
_NO_MERGE = "no merge into the base can stand for it: train a LoRA adapter instead, llmkit finetune --lora"


class TensorName(NamedTuple):
    """What the name of an adapter's tensor says."""

    module: str
    """In transformers' model; of a whole tensor its own name: lm_head.weight."""
    part: Part


class PeftConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What adapter_config.json says of the values: the keys that count once the tensors are there."""

    r: Annotated[int, Meta(ge=1)]
    lora_alpha: Annotated[float, Meta(gt=0)]
    lora_dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    base_model_name_or_path: str | None = None
    target_modules: list[str] | str | None = None
    modules_to_save: list[str] | None = None
    layers_to_transform: list[int] | int | None = None
    rank_pattern: dict[str, Annotated[int, Meta(ge=1)]] = {}
    alpha_pattern: dict[str, Annotated[float, Meta(gt=0)]] = {}

    def scale(self, module: str, rank: int) -> float:
        """What B A is multiplied with in a module."""
        alpha = of_pattern(self.alpha_pattern, [module], self.lora_alpha)
        return lora_scale(alpha, rank, rslora=self.use_rslora)

    def rank(self, module: str) -> int:
        """The rank of a module's factors."""
        return of_pattern(self.rank_pattern, [module], self.r)


def lora_scale(alpha: float, rank: float, *, rslora: bool) -> float:
    """What B A is multiplied with: alpha / rank, or alpha / sqrt(rank) for rsLoRA (2312.03732)."""
    return alpha / math.sqrt(rank) if rslora else alpha / rank


def of_pattern(patterns: Mapping[str, _Value], names: Iterable[str], default: _Value) -> _Value:
    """The value of the first pattern that matches the end of one of a module's names, as peft does."""
    for pattern, value in patterns.items():
        if any(re.match(rf"(.*\.)?({pattern})$", name) for name in names):
            return value
    return default


def read_peft_config(folder: Path) -> PeftConfig:
    """What an adapter's config says.

    Raises:
        MissingError: there is none.
        DataError: it is no JSON object, or a value is of a wrong kind.
        ConfigError: the adapter is of a kind that is not supported.
    """
    path = folder / ADAPTER_CONFIG
    if not path.is_file():
        raise MissingError(
            f"{folder}: no adapter (a folder with {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS})",
            hint="give PEFT's folder of an adapter",
        )
    content = read_json_object(path)
    _refuse_others(path, content)
    given = {key: value for key, value in content.items() if value is not None}
    try:
        return msgspec.convert(given, PeftConfig)
    except msgspec.ValidationError as error:
        raise DataError(f"{path}: {str(error)[:1].lower()}{str(error)[1:]}", hint=FETCH_AGAIN) from None


def peft_config_bytes(config: PeftConfig) -> bytes:
    """adapter_config.json with the few keys that every release of peft knows."""
    fields = msgspec.to_builtins(config)
    for key in ("lora_alpha", "lora_dropout"):
        fields[key] = _short(fields[key])
    fields["alpha_pattern"] = {key: _short(value) for key, value in config.alpha_pattern.items()}
    if config.layers_to_transform is None:
        del fields["layers_to_transform"]
    fixed = {
        **{"peft_type": "LORA", "task_type": "CAUSAL_LM", "bias": "none"},
        **{"inference_mode": True, "init_lora_weights": True},
    }
    return json_text(dict(sorted((fixed | fields).items())))


def parse_tensor_name(name: str) -> TensorName:
    """What a tensor of adapter_model.safetensors belongs to: `base_model.model.` may be left out."""
    name = name.removeprefix(PREFIX)
    if match := _LOW_RANK.match(name):
        return TensorName(match["module"], _PARTS[match["what"]])
    if name.endswith(".base_layer.weight"):
        return TensorName(name.removesuffix(".base_layer.weight"), "base")
    return TensorName(name, "whole")


def tensor_name(module: str, part: Part) -> str:
    """The name under which peft looks for a part; the inverse of `parse_tensor_name`."""
    if part == "whole":
        return PREFIX + module
    if part == "base":
        return f"{PREFIX}{module}.base_layer.weight"
    word = next(word for word, one in _PARTS.items() if one == part)
    return f"{PREFIX}{module}.{word}{'.weight' if part in ('A', 'B') else ''}"


def refused_by(config: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """Readers that do not take an adapter, each with the reason.

    Seen in vLLM's PEFTHelper and llama.cpp's convert_lora_to_gguf.py (2025-02).

    Args:
        config: the decoded adapter_config.json.
        names: of its tensors.
    """
    refused = {}
    if config.get("use_dora"):
        refused["vLLM"] = "takes no DoRA"
    elif config.get("modules_to_save"):
        refused["vLLM"] = "takes no modules_to_save"
    elif config.get("rank_pattern") or config.get("alpha_pattern"):
        refused["vLLM"] = "ignores rank_pattern and alpha_pattern, and scales all modules by lora_alpha / r"
    if any(parse_tensor_name(name).part not in ("A", "B") for name in names):
        refused["llama.cpp"] = "takes lora_A and lora_B tensors only"
    elif config.get("use_rslora"):
        refused["llama.cpp"] = "ignores use_rslora and scales by alpha / rank"
    elif config.get("alpha_pattern"):
        refused["llama.cpp"] = "ignores alpha_pattern and scales all modules alike"
    return refused


def _refuse_others(path: Path, content: Mapping[str, Any]) -> None:
    """Everything that changes the arithmetic and is not known here."""
    kind = content.get("peft_type")
    if kind != "LORA":
        raise ConfigError(
            f"{path}: peft_type {kind!r} is not supported (known: LORA)",
            hint=_NO_MERGE if kind in _PROMPTS else _OTHER,
        )
    if content.get("bias", "none") != "none":
        raise ConfigError(f"{path}: bias {content['bias']!r} is not supported (known: none)", hint=_OTHER)
    how = content.get("init_lora_weights")
    if isinstance(how, str) and how.lower().startswith(_CHANGE_THE_BASE):
        raise ConfigError(
            f"{path}: init_lora_weights {how!r} changed the base too: the adapter alone is not enough",
            hint="save it with peft's path_initial_model_for_weight_conversion: a plain adapter",
        )
    known = {*PeftConfig.__struct_fields__, *_NO_MATTER}
    if content.get("lora_bias"):
        raise ConfigError(
            f"{path}: lora_bias is not supported (found {content['lora_bias']!r})",
            hint="where all its layers have biases, merge it with peft; else train it without lora_bias",
        )
    for key, value in content.items():
        if key not in known and value:
            raise ConfigError(f"{path}: {key} is not supported (found {value!r})", hint=_OTHER)


def _short(value: float) -> float | int:
    """A whole number as one, and without what a division and its inverse leave."""
    return round(value) if math.isclose(value, round(value), rel_tol=1e-12) else value
