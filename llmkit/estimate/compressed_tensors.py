"""The quantization_config of compressed-tensors (llm-compressor): groups of modules, each with a format."""

import re
from typing import Any

from llmkit.estimate.matrix_formats import Bytewise, MatrixFormat, MicroScaled, Packed
from llmkit.estimate.quantised_keys import QuantisedKeys
from llmkit.estimate.schemes import Quantised, Rule
from llmkit.estimate.stored import Scheme


def compressed_tensors_scheme(keys: QuantisedKeys) -> Scheme:
    """Groups of modules, each in its format; what no group targets, or `ignore` lists, stays in 16 bits.

    Raises:
        ConfigError: a format or a way to share scales whose sizes are not known here.
    """
    sparsity = QuantisedKeys(keys.mapping("sparsity_config"))
    sparsity.require("format", (None, "dense"))
    rules = [Rule(_target(keys, "ignore", name), None) for name in keys.names("ignore")]
    default: MatrixFormat | None = None
    found: list[MatrixFormat] = []
    for group in keys.mapping("config_groups").values():
        own = QuantisedKeys(group)
        chosen = _format(own, own.value("format") or keys.value("format"))
        found.append(chosen)
        for target in own.names("targets"):
            if target == "Linear":
                default = chosen
            else:
                rules.append(Rule(_target(own, "targets", target), chosen))
    if not found:
        keys.wrong("config_groups", "an object with at least one group")
    return Quantised(
        name=_name(found),
        format=default,
        scope="linears",
        rules=tuple(rules),
    )


def _target(keys: QuantisedKeys, key: str, name: str) -> re.Pattern[str]:
    return keys.regex(key, name[3:] if name.startswith("re:") else rf"{re.escape(name)}$")


def _format(group: QuantisedKeys, form: Any) -> MatrixFormat:
    weights = QuantisedKeys(group.mapping("weights"))
    inputs = QuantisedKeys(group.mapping("input_activations"))
    bits, symmetric = weights.whole("num_bits"), weights.value("symmetric") is not False
    has_inputs = bool(inputs.section)
    static = has_inputs and not inputs.value("dynamic")
    match form, weights.value("type"), bits:
        case "pack-quantized", "int", _:
            return Packed(bits, _columns(weights), symmetric, weights.value("actorder") == "group")
        case "int-quantized" | "naive-quantized", "int", 8:
            return Bytewise("int8", _scale(weights), symmetric, input_scale=static)
        case "float-quantized" | "naive-quantized", "float", 8:
            return Bytewise("fp8", _scale(weights), input_scale=static)
        case "nvfp4-pack-quantized", "float", 4:
            return MicroScaled("nvfp4", 16, globals=1 + has_inputs)
        case "mxfp4-pack-quantized", "float", 4:
            return MicroScaled("mxfp4", 32)
    QuantisedKeys({"format": form}).wrong(
        "format", "pack-, int-, float-, nvfp4-pack- and mxfp4-pack-quantized"
    )


def _columns(weights: QuantisedKeys) -> int | None:
    """Columns that share a scale; None for all of a row."""
    weights.require("strategy", ("group", "channel"))
    return weights.whole("group_size") if weights.value("strategy") == "group" else None


def _scale(weights: QuantisedKeys) -> Any:
    match weights.value("strategy"):
        case "tensor" | "channel" as strategy:
            return strategy
        case "block":
            return weights.pair("block_structure") or weights.wrong("block_structure", "two numbers")
        case "group":
            return weights.whole("group_size")
    weights.wrong("strategy", "tensor, channel, group or block")


def _name(formats: list[MatrixFormat]) -> str:
    """The name that a user could type for it, where there is one."""
    names = set()
    for chosen in formats:
        match chosen:
            case Packed(bits, group, symmetric):
                names.add(f"w{bits}a16{'' if symmetric else '-asym'}" + (f"-g{group}" if group else ""))
            case Bytewise("int8", _):
                names.add("w8a8")
            case Bytewise(codes, scale):
                names.add(f"{codes}-{scale if isinstance(scale, str) else 'block128'}")
            case _:
                names.add(chosen.codes_name)
    return "+".join(sorted(names))
