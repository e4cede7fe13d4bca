"""Bytes of a model's weights as a scheme stores them, from its architecture alone.

Tensor bytes: a file has a header besides (names, shapes, a GGUF's tokenizer), which is not counted.
"""

import math

import msgspec

from llmkit.estimate.architecture import PARTS, Architecture
from llmkit.estimate.stored import Scheme


class WeightBytes(msgspec.Struct, frozen=True, kw_only=True):
    """The weights of a model as a scheme stores them."""

    nbytes: int
    """Of all tensors."""
    by_part: dict[str, int]
    """By the parts of `architecture.PARTS`; scales count with their matrix."""
    formats: dict[str, int]
    """By what they are: Q4_K, F32; int4, scales, zeros, index, bfloat16. Most bytes first."""
    bits_per_weight: float
    """Bits for a parameter, all tensors together."""


def weight_bytes(architecture: Architecture, scheme: Scheme) -> WeightBytes:
    """What the weights of a model take, stored as `scheme` says.

    Raises:
        ConfigError: the scheme cannot hold one of the model's matrices.
    """
    parts: dict[str, float] = {}
    formats: dict[str, float] = {}
    for part, kind, nbytes in scheme.stored(architecture):
        parts[part] = parts.get(part, 0) + nbytes
        formats[kind] = formats.get(kind, 0) + nbytes
    total = math.ceil(sum(formats.values()))
    largest_first = sorted(formats, key=lambda kind: (-formats[kind], kind))
    return WeightBytes(
        nbytes=total,
        by_part={part: math.ceil(parts[part]) for part in PARTS if part in parts},
        formats={kind: math.ceil(formats[kind]) for kind in largest_first},
        bits_per_weight=8 * total / architecture.parameters,
    )
