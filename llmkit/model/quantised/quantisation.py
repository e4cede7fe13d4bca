"""What a config.json says of quantised weights: which layout each module's tensors have. No torch.

`quantization_config`, or MLX's `quantization`. Quantised activations are left as they are: whatever the file
says of them, weights become plain numbers here.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from llmkit.errors import ConfigError
from llmkit.formats import bytewise
from llmkit.formats.quantised import awq, bnb_4bit, compressed_tensors, gptq, mlx_affine, mxfp4
from llmkit.formats.quantised.matrix_layout import MatrixLayout
from llmkit.model.quantised.section import METHODS, SectionKeys, quantised_section

UNREAD = (".input_scale", ".input_zero_point", ".k_scale", ".v_scale", ".input_global_scale")
"""Suffixes of tensors about activations and caches."""
_FORMATS = ("checkpoint_format", "format")
"""Keys of GPTQ and AWQ that say in which way codes are packed: GPTQModel's, and transformers'."""
_HINT = "ask for the model's float32, bfloat16 or float16 weights"


@dataclass(frozen=True)
class Quantisation:
    """How a model's matrices are kept."""

    method: str
    marks: tuple[str, ...]
    """Suffixes of tensors that a module has only if it is quantised."""
    layout: Callable[[str], MatrixLayout]
    """Of a quantised module, by its name."""


def quantisation(config: Mapping[str, Any], source: str) -> Quantisation | None:
    """How a config.json says that weights are kept; None for plain numbers.

    Args:
        config: the decoded JSON object.
        source: where it came from, for messages.

    Raises:
        ConfigError: in a way that is not read.
    """
    section = quantised_section(config)
    if section is None:
        return None
    keys = _Section(section, source)
    match section.get("quant_method"):
        case None if "bits" in section and "group_size" in section:
            return _mlx(keys)
        case "awq":
            for key in ("version", *_FORMATS):
                keys.only(key, None, "gemm", "GEMM")
            if section.get("backend") == "llm-awq":  # its own packing, whatever the version
                keys.wrong("backend", "autoawq")
            keys.only("bits" if "bits" in section else "w_bit", 4)
            awq_layout = awq.Awq(keys.group("group_size", "q_group_size") or 0)
            return Quantisation("awq", (awq.CODES,), lambda module: awq_layout)
        case "bitsandbytes":
            if not (section.get("load_in_4bit") or section.get("_load_in_4bit")):
                keys.wrong("load_in_4bit", True)
            return Quantisation("bitsandbytes", (bnb_4bit.ABSMAX,), lambda module: bnb_4bit.Bnb4Bit())
        case "compressed-tensors":
            return _compressed(keys)
        case "fp8":
            layout = bytewise.Bytewise("F8_E4M3", keys.pair("weight_block_size"), inverse=True)
            return Quantisation("fp8", (bytewise.SCALE_INV,), lambda module: layout)
        case "gptq":
            return _gptq(keys)
        case "mxfp4":
            return Quantisation("mxfp4", (mxfp4.CODES,), lambda module: mxfp4.Mxfp4())
    keys.wrong("quant_method", *METHODS)


class _Section(SectionKeys):
    """A section, as layouts are told from it."""

    def __init__(self, section: Mapping[str, Any], source: str) -> None:
        super().__init__(section)
        self.source = source

    def only(self, key: str, *values: Any) -> None:
        if self.section.get(key) not in values:
            self.wrong(key, *values)

    def inner(self, section: Any) -> "_Section":
        if not isinstance(section, Mapping):
            self.wrong("config_groups", "objects")
        return _Section(section, self.source)

    def wrong(self, key: str, *wanted: Any) -> NoReturn:
        names = ", ".join(str(one) for one in wanted if one is not None)
        raise ConfigError(
            f"{self.source}: quantised weights with {key} {self.section.get(key)!r} are not supported "
            f"(known: {names})",
            hint=_HINT,
        )


def _mlx(keys: _Section) -> Quantisation:
    def of(section: _Section) -> MatrixLayout:
        section.only("mode", None, "affine")
        return mlx_affine.MlxAffine(section.whole("bits"), section.whole("group_size"))

    plain = of(keys)
    own = {name: of(keys.inner(one)) for name, one in keys.section.items() if isinstance(one, Mapping)}
    return Quantisation("mlx", (mlx_affine.SCALE,), lambda module: own.get(module, plain))


def _gptq(keys: _Section) -> Quantisation:
    for key in _FORMATS:
        keys.only(key, None, "gptq", "gptq_v2")
    keys.only("is_marlin_format", None, False)
    less_one = "gptq_v2" not in {keys.section.get(key) for key in _FORMATS}

    def of(section: Mapping[str, Any]) -> MatrixLayout:
        one = _Section({**keys.section, **section}, keys.source)
        one.only("bits", *gptq.BITS)
        return gptq.Gptq(one.whole("bits"), one.group("group_size") or 0, less_one)

    plain = of({})
    rules = [
        (_pattern(keys, re.sub(r"^\+:", "", name)), of(change))
        for name, change in (keys.section.get("dynamic") or {}).items()
        if not name.startswith("-:")
    ]
    return Quantisation(
        "gptq",
        (gptq.CODES,),
        lambda module: next((layout for pattern, layout in rules if pattern.match(module)), plain),
    )


def _compressed(keys: _Section) -> Quantisation:
    groups = keys.section.get("config_groups")
    if not isinstance(groups, Mapping) or not groups:
        keys.wrong("config_groups", "an object with at least one group")
    if keys.section.get("transform_config"):
        raise ConfigError(
            f"{keys.source}: quantised weights with a transform_config (inputs rotated as the model runs) "
            "are not supported",
            hint=_HINT,
        )
    exact: dict[str, MatrixLayout] = {}
    patterns: list[tuple[re.Pattern[str], MatrixLayout]] = []
    kinds: dict[str, MatrixLayout] = {}
    for group in map(keys.inner, groups.values()):
        layout = _compressed_layout(group, group.section.get("format") or keys.section.get("format"))
        for target in group.section.get("targets") or ():
            if target.startswith("re:"):
                patterns.append((_pattern(keys, target[3:]), layout))
            elif "." in target:
                exact[target] = layout
            else:
                kinds[target] = layout

    def of(module: str) -> MatrixLayout:
        found = exact.get(module) or next((one for pattern, one in patterns if pattern.match(module)), None)
        found = found or kinds.get("Linear") or kinds.get(module)
        if found is None:
            raise ConfigError(
                f"{keys.source}: {module} is quantised, but no group of quantization_config targets it",
                hint="copy the model's config.json again",
            )
        return found

    return Quantisation("compressed-tensors", (bytewise.SCALE,), of)


def _compressed_layout(group: _Section, form: Any) -> MatrixLayout:
    weights = _Section(group.section.get("weights") or {}, group.source)
    bits, kind, strategy = (weights.section.get(key) for key in ("num_bits", "type", "strategy"))
    symmetric = weights.section.get("symmetric") is not False
    match form, kind:
        case "pack-quantized", "int":
            weights.only("strategy", "group", "channel", "tensor")
            weights.only("num_bits", *range(2, 9))
            columns = weights.whole("group_size") if strategy == "group" else 0
            return compressed_tensors.PackQuantized(weights.whole("num_bits"), columns, symmetric)
        case ("int-quantized" | "naive-quantized", "int") | ("float-quantized" | "naive-quantized", "float"):
            weights.only("strategy", "tensor", "channel", "block")
            weights.only("num_bits", 8)
            block = None
            if strategy == "block":
                block = weights.pair("block_structure") or weights.wrong("block_structure", "two numbers")
            return bytewise.Bytewise("I8" if kind == "int" else "F8_E4M3", block)
    raise ConfigError(
        f"{group.source}: compressed-tensors' {form} with {bits}-bit {kind} weights is not supported "
        "(known: pack-, int- and float-quantized)",
        hint=_HINT,
    )


def _pattern(keys: _Section, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigError(
            f"{keys.source}: quantization_config has {text!r}, no valid pattern ({error})",
            hint="copy the model's config.json again",
        ) from None
