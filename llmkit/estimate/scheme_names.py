"""The ways to store weights, by the names that people type."""

import re
from collections.abc import Callable
from itertools import product

from llmkit.errors import ConfigError, nearest
from llmkit.estimate.dtypes import WEIGHT_DTYPES
from llmkit.estimate.gguf_mix import BASE_TYPES, NEED_IMATRIX
from llmkit.estimate.matrix_formats import (
    Awq,
    BnbInt8,
    Bytewise,
    Fp8,
    Gptq,
    MatrixFormat,
    MicroScaled,
    Mlx,
    Nf4,
    Packed,
)
from llmkit.estimate.schemes import GgufFile, Quantised
from llmkit.estimate.stored import NumbersAlone, Scheme

_GGUF_ALIASES = {"q3_k": "q3_k_m", "q4_k": "q4_k_m", "q5_k": "q5_k_m"}
"""llama-quantize's own short names."""
_IMATRIX = "-imatrix"
_FIXED: dict[str, MatrixFormat] = {
    **{"w8a8": Bytewise("int8"), "fp8-channel": Bytewise("fp8"), "fp8-block128": Fp8()},
    **{"nf4": Nf4(), "nf4-plain": Nf4(double=False), "bnb-int8": BnbInt8()},
    **{"mxfp4": MicroScaled("mxfp4", 32), "nvfp4": MicroScaled("nvfp4", 16, globals=2)},
}


def _packed(match: re.Match[str]) -> MatrixFormat:
    return Packed(int(match["bits"]), _group(match["group"]), symmetric=not match["asym"])


_PATTERNS: tuple[tuple[str, Callable[[re.Match[str]], MatrixFormat]], ...] = (
    (r"w(?P<bits>[2-8])a16(?P<asym>-asym)?(-g(?P<group>[1-9]\d*))?", _packed),
    (r"gptq-([2348])bit(-g([1-9]\d*))?", lambda match: Gptq(int(match[1]), _group(match[3]))),
    (r"awq-4bit(-g([1-9]\d*))?", lambda match: Awq(_group(match[2]))),
    (r"mlx-([234568])bit-g(32|64|128)", lambda match: Mlx(int(match[1]), int(match[2]))),
)
"""Families of names, with the bits and the group in them; without a group, a scale for each row."""

SCHEMES: tuple[str, ...] = (
    *WEIGHT_DTYPES,
    *(name.lower() for name in BASE_TYPES),
    *(f"{name}{_IMATRIX}" for name in ("q4_0", "q5_0", "iq4_xs", "iq4_nl")),
    *("gptq-4bit-g128", "gptq-8bit-g128", "awq-4bit-g128"),
    *("w4a16-g128", "w4a16-asym-g128", "w8a16", "w3a16-g32"),
    *(f"mlx-{bits}bit-g{group}" for bits, group in product((4, 8), (32, 64))),
    *_FIXED,
)
"""Names to type. Others of the same families are understood too: w2a16 to w8a16, other groups, other bits."""


def parse_scheme(text: str) -> Scheme:
    """The scheme of a name, in capitals or not.

    float32 … int4 are the numbers alone, norms and embeddings too. f16, bf16, q4_k_m, … are GGUF files as
    llama-quantize makes them (with `-imatrix`: given an importance matrix, which a few types need and take
    without being asked). The others are safetensors formats, embeddings, norms, router and head in 16 bits.

    Raises:
        ConfigError: no such scheme.
    """
    name = text.strip().lower()
    if name in WEIGHT_DTYPES:
        return NumbersAlone(name)
    file_type = _GGUF_ALIASES.get(plain := name.removesuffix(_IMATRIX), plain).upper()
    if file_type in BASE_TYPES:
        return GgufFile(name, file_type, imatrix=plain != name or file_type in NEED_IMATRIX)
    matrix_format = _FIXED.get(name)
    for pattern, make in _PATTERNS:
        if match := re.fullmatch(pattern, name):
            matrix_format = make(match)
    if matrix_format is None:
        close = nearest(name, SCHEMES)
        raise ConfigError(
            f"no way to store weights is called {text!r}",
            hint=f"did you mean {close}?" if close else f"one of {', '.join(SCHEMES)}",
        )
    if isinstance(matrix_format, Mlx):
        return Quantised(name=name, format=matrix_format, scope="mlx")
    return Quantised(name=name, format=matrix_format, scope="experts" if name == "mxfp4" else "layers")


def _group(text: str | None) -> int | None:
    return int(text) if text else None
