"""How a config.json says that its weights are quantised: quantization_config, or MLX's quantization.

Left out, as a few bytes a layer: scales of a quantised cache (kv_cache_scheme).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from llmkit.errors import ConfigError, nearest
from llmkit.estimate.compressed_tensors import compressed_tensors_scheme
from llmkit.estimate.matrix_formats import (
    MLX_MODES,
    Awq,
    BnbInt8,
    Fp8,
    Gptq,
    MicroScaled,
    Mlx,
    Nf4,
)
from llmkit.estimate.quantised_keys import QuantisedKeys, skipped
from llmkit.estimate.schemes import Quantised, Rule
from llmkit.estimate.stored import Scheme
from llmkit.model.quantised.section import METHODS, quantised_section


def scheme_of_config(config: Mapping[str, Any]) -> Scheme | None:
    """The scheme of a config.json; None for a model that is not quantised.

    Raises:
        ConfigError: an unknown quant_method, or a key that changes sizes and is not supported.
    """
    section = quantised_section(config)
    if section is None:
        return None
    keys = QuantisedKeys(section)
    method = section.get("quant_method")
    match method:
        case None if "bits" in section and "group_size" in section:
            return _mlx(keys)
        case "awq":
            return _awq(keys)
        case "bitsandbytes":
            return _bitsandbytes(keys)
        case "compressed-tensors":
            return compressed_tensors_scheme(keys)
        case "fp8":
            return _fp8(keys)
        case "gptq":
            return _gptq(keys)
        case "mxfp4":
            return _mxfp4(keys)
    _unknown(method)


def _unknown(method: object) -> NoReturn:
    close = nearest(str(method), METHODS)
    raise ConfigError(
        f"quantization_config.quant_method {method!r} is not known here (known: {', '.join(METHODS)})",
        hint=f"did you mean {close}?" if close else "say how weights are stored: --dtype w4a16-g128",
    )


def _gptq(keys: QuantisedKeys) -> Scheme:
    keys.require("checkpoint_format", (None, "gptq", "gptq_v2"))
    keys.require("is_marlin_format", (None, False))
    bits, group = keys.whole("bits"), keys.group("group_size")
    if bits not in (2, 3, 4, 8):
        keys.wrong("bits", "2, 3, 4 or 8")
    plain = Gptq(bits, group)
    rules = [_gptq_rule(keys, plain, pattern, change) for pattern, change in keys.mapping("dynamic").items()]
    blocks = keys.value("modules_in_block_to_quantize")
    if blocks:
        if not isinstance(blocks, list):
            keys.wrong("modules_in_block_to_quantize", "lists of names")
        names = [str(name) for block in blocks for name in (block if isinstance(block, list) else [block])]
        rules.append(Rule(re.compile(rf".*\.(?:{'|'.join(map(re.escape, names))})$"), plain))
        rules.append(Rule(re.compile(""), None))
    name = f"gptq-{bits}bit" + (f"-g{group}" if group else "")
    return Quantised(name=name, format=plain, head=keys.flag("lm_head"), rules=tuple(rules))


def _gptq_rule(keys: QuantisedKeys, plain: Gptq, pattern: str, change: Any) -> Rule:
    """GPTQModel's `dynamic`: `-:regex` leaves modules alone, `+:regex` or a bare one changes their format."""
    compiled = keys.regex("dynamic", re.sub(r"^[-+]:", "", pattern))
    if pattern.startswith("-:"):
        return Rule(compiled, None)
    own = QuantisedKeys({"bits": plain.bits, "group_size": plain.group, **QuantisedKeys(change).section})
    return Rule(compiled, Gptq(own.whole("bits"), own.group("group_size")))


def _awq(keys: QuantisedKeys) -> Scheme:
    keys.require("version", (None, "gemm", "GEMM"))
    keys.require("zero_point", (None, True))
    if keys.whole("bits", "w_bit") != 4:
        keys.wrong("bits", "4")
    group = keys.group("group_size", "q_group_size")
    name = "awq-4bit" + (f"-g{group}" if group else "")
    return Quantised(name=name, format=Awq(group), rules=_skips(keys, "modules_to_not_convert"))


def _bitsandbytes(keys: QuantisedKeys) -> Scheme:
    rules, listed = _skips(keys, "llm_int8_skip_modules"), keys.value("llm_int8_skip_modules") is not None
    if keys.flag("load_in_8bit") or keys.flag("_load_in_8bit"):
        return Quantised(name="bnb-int8", format=BnbInt8(), head=listed, rules=rules)
    if not (keys.flag("load_in_4bit") or keys.flag("_load_in_4bit")):
        keys.wrong("load_in_4bit", "true, or load_in_8bit")
    codes = keys.value("bnb_4bit_quant_type") or "fp4"
    if codes not in ("nf4", "fp4"):
        keys.wrong("bnb_4bit_quant_type", "nf4 or fp4")
    double = keys.flag("bnb_4bit_use_double_quant")
    return Quantised(
        name=codes if double else f"{codes}-plain",
        format=Nf4(double=double, codes_name=codes),
        head=listed,  # a list of modules takes the place of the default, which is the head
        rules=rules,
    )


def _fp8(keys: QuantisedKeys) -> Scheme:
    static = keys.value("activation_scheme") == "static"
    block = keys.pair("weight_block_size")
    return Quantised(
        name="fp8-tensor" if block is None else f"fp8-block{block[0]}",
        format=Fp8(block, input_scale=static),
        rules=_skips(keys, "modules_to_not_convert"),
    )


def _mxfp4(keys: QuantisedKeys) -> Scheme:
    rules = _skips(keys, "modules_to_not_convert")
    return Quantised(name="mxfp4", format=MicroScaled("mxfp4", 32), scope="experts", rules=rules)


def _mlx(keys: QuantisedKeys) -> Scheme:
    plain = _mlx_format(keys)
    rules = [
        Rule(_mlx_path(path), _mlx_format(QuantisedKeys(value)) if value else None)
        for path, value in keys.section.items()
        if value is False or isinstance(value, Mapping)
    ]
    mode = "" if plain.mode == "affine" else f"{plain.mode}-"
    name = f"mlx-{mode}{plain.bits}bit-g{plain.group}"
    return Quantised(name=name, format=plain, scope="mlx", rules=tuple(rules))


def _mlx_format(keys: QuantisedKeys) -> Mlx:
    mode = keys.value("mode") or "affine"
    if mode not in MLX_MODES:
        keys.wrong("mode", ", ".join(MLX_MODES))
    return Mlx(keys.whole("bits"), keys.whole("group_size"), mode)


def _mlx_path(path: str) -> re.Pattern[str]:
    """MLX stacks experts as switch_mlp."""
    name = re.escape(path).replace("switch_mlp", r"experts(?:\.\d+)?")
    return re.compile(rf"(?:.*\.)?{name}$")


def _skips(keys: QuantisedKeys, key: str) -> tuple[Rule, ...]:
    names: Iterable[str] = keys.names(key)
    return tuple(Rule(pattern, None) for pattern in skipped(names))
