"""`/v1/embeddings`: texts as vectors. Source: OpenAI's API reference, "Embeddings"."""

import base64
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.server.answer import Usage
from llmkit.server.errors import refused
from llmkit.server.wire.completions import read_prompts

MOST_INPUTS = 2048
"""Texts of one request: OpenAI's."""


class EmbeddingRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body."""

    input: str | list[Any]
    model: str | None = None
    encoding_format: str | None = None
    dimensions: int | None = None
    user: str | None = None


@dataclass(frozen=True)
class EmbeddingAsk:
    """What is asked for. Of `texts` and `ids`, one is set."""

    texts: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    encoding: Literal["float", "base64"]
    dimensions: int
    """Numbers of each vector: its first, for models whose beginnings say most (Matryoshka)."""


def read_embedding(told: EmbeddingRequest, width: int) -> EmbeddingAsk:
    """What a body asks for.

    Args:
        told: the body, decoded.
        width: numbers that the model's vectors have.

    Raises:
        ApiError: 400, naming the parameter that cannot be followed.
    """
    dimensions = width if told.dimensions is None else told.dimensions
    if not 1 <= dimensions <= width:
        raise refused("dimensions", f"from 1 to {width}, as this model's vectors have (found {dimensions})")
    encoding = "float" if told.encoding_format is None else told.encoding_format
    if encoding not in ("float", "base64"):
        raise refused("encoding_format", f"float or base64 (found {encoding!r})")
    if told.model is not None and ":" in told.model:
        raise refused("model", "vectors are the base's alone: leave out the adapter")
    texts, ids = read_prompts(told.input, "input")
    if (count := len(texts) or len(ids)) > MOST_INPUTS:
        raise refused("input", f"at most {MOST_INPUTS:,} texts (found {count:,})")
    return EmbeddingAsk(texts, ids, "base64" if encoding == "base64" else "float", dimensions)


def embedding_object(
    model: str, vectors: NDArray[np.float32], usage: Usage, encoding: Literal["float", "base64"]
) -> dict[str, Any]:
    """The answer: in base64, a vector is its float32 numbers, little-endian."""
    told = [
        base64.b64encode(row.astype("<f4").tobytes()).decode() if encoding == "base64" else row.tolist()
        for row in vectors
    ]
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(told)],
        "model": model,
        "usage": {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.total_tokens},
    }
