"""Attention and cross-entropy of training, forwards and backwards, against float64 that holds all scores."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmkit.kernels.learn import (
    CrossEntropyStruct,
    LearntAttentionStruct,
    cross_entropy,
    learnt_attention,
)
from llmkit.kernels.memory import ValueType

pytestmark = pytest.mark.usefixtures("native")
Array = NDArray[Any]
SHAPES = [(1, 1, 1, 1, 32), (2, 4, 2, 63, 64), (1, 3, 3, 64, 32), (1, 6, 1, 130, 96), (2, 2, 2, 200, 64)]
"""Rows, query heads, key/value heads, positions, head_dim."""


def documents(random: np.random.Generator, rows: int, length: int) -> NDArray[np.int32]:
    """Where the document of each position begins, with a window of 70 in the first row."""
    begins = random.random((rows, length)) < 0.05
    first = np.maximum.accumulate(np.where(begins, np.arange(length), 0), axis=1)
    first[0] = np.maximum(first[0], np.arange(length) - 69)
    return first.astype(np.int32)


def twin(q: Array, k: Array, v: Array, first: Array | None, g: Array, scale: float) -> list[Array]:
    """Out (R, T, H, E) and the gradients of q, k and v, (R, T, heads, E), in float64."""
    group, length = q.shape[1] // k.shape[1], q.shape[2]
    q, g = q.astype("f8"), g.astype("f8")
    k, v = (np.repeat(one.astype("f8"), group, 1) for one in (k, v))
    places = np.arange(length)
    seen = (places[None, None, None] <= places[:, None]) & True
    if first is not None:
        seen = seen & (places >= first[:, None, :, None])
    scores = np.where(seen, np.einsum("rhte,rhse->rhts", q, k) * scale, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    out = weights @ v
    slopes = np.einsum("rhte,rhse->rhts", g, v)
    slopes = weights * (slopes - (g * out).sum(-1, keepdims=True)) * scale
    per_head = [slopes.swapaxes(2, 3) @ q, weights.swapaxes(2, 3) @ g]
    shared = [one.reshape(len(q), -1, group, *one.shape[2:]).sum(2) for one in per_head]
    return [one.swapaxes(1, 2) for one in (out, slopes @ k, *shared)]


def attend(q: Array, k: Array, v: Array, first: Array | None, g: Array, scale: float) -> list[Array]:
    """The same by the kernel: forwards, then backwards."""
    rows, heads, length, head_dim = q.shape
    kind = ValueType.FLOAT32 if q.dtype == np.float32 else ValueType.BFLOAT16
    struct = LearntAttentionStruct(
        **{"type": kind, "rows": rows, "heads": heads, "kv_heads": k.shape[1], "length": length},
        **{"head_dim": head_dim, "scale": scale},
        **{"first": None if first is None else first.ctypes.data},
    )
    for name, array in {"q": q, "k": k, "v": v, "g": g}.items():
        setattr(struct, "d_out" if name == "g" else name, array.ctypes.data)
        for step, stride in zip(("row", "head", "token"), array.strides, strict=False):
            setattr(struct, f"{name}_{step}", stride // array.itemsize)
    made = [np.zeros((rows, length, one.shape[1], head_dim), q.dtype) for one in (q, q, k, v)]
    lse = np.empty((rows, heads, length), np.float32)
    struct.out, struct.lse, struct.d_out = made[0].ctypes.data, lse.ctypes.data, None
    learnt_attention(struct)
    struct.d_out = g.ctypes.data
    struct.d_q, struct.d_k, struct.d_v = (one.ctypes.data for one in made[1:])
    learnt_attention(struct)
    return made


def off(found: Array, expected: Array) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def inputs(random: np.random.Generator, shape: tuple[int, ...]) -> list[NDArray[np.float32]]:
    """q, k, v and the gradient of what comes out, positions before heads in memory."""
    rows, heads, kv_heads, length, head_dim = shape
    counts = (heads, kv_heads, kv_heads, heads)
    drawn = [random.normal(size=(rows, length, count, head_dim)) for count in counts]
    return [one.astype(np.float32).swapaxes(1, 2) for one in drawn]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("packed", [False, True])
def test_attention_and_its_gradients_are_those_of_float64(
    shape: tuple[int, ...], packed: bool, random: np.random.Generator
) -> None:
    q, k, v, g = inputs(random, shape)
    first = documents(random, shape[0], shape[3]) if packed else None
    scale = 0.7 / np.sqrt(shape[4])
    expected = twin(q, k, v, first, g, scale)
    for found, wanted in zip(attend(q, k, v, first, g, scale), expected, strict=True):
        if np.abs(wanted).max() < 1e-12:  # a position alone: nothing depends on queries and keys
            assert np.abs(found).max() < 1e-6
        else:
            assert off(found, wanted) < 2e-6


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_in_bfloat16_they_are_rounded_and_not_worse(
    shape: tuple[int, ...],
    random: np.random.Generator,
    to_bf16: Callable[[Array], Array],
    from_bf16: Callable[[Array], Array],
) -> None:
    narrow = [to_bf16(one) for one in inputs(random, shape)]
    first = documents(random, shape[0], shape[3])
    expected = twin(*(from_bf16(one) for one in narrow[:3]), first, from_bf16(narrow[3]), 0.1)
    for found, wanted in zip(attend(*narrow[:3], first, narrow[3], 0.1), expected, strict=True):
        assert off(from_bf16(found), wanted) < 8e-3  # half a unit of bfloat16 is 4e-3 at most


def test_bits_are_the_same_on_any_threads(
    random: np.random.Generator, same_on_any_threads: Callable[[Callable[[], Array]], Array]
) -> None:
    q, k, v, g = inputs(random, (2, 4, 2, 130, 64))
    same_on_any_threads(lambda: np.concatenate([one.ravel() for one in attend(q, k, v, None, g, 0.1)]))


def nats(logits: Array, targets: NDArray[np.int64], factor: NDArray[np.float32]) -> tuple[Array, Array]:
    """Forwards, then backwards."""
    rows, cols = logits.shape
    kind = ValueType.FLOAT32 if logits.dtype == np.float32 else ValueType.BFLOAT16
    found, terms = np.empty(rows, np.float32), np.empty((rows, 2), np.float32)
    slopes = np.empty_like(logits)
    struct = CrossEntropyStruct(
        **{"logits": logits.ctypes.data, "targets": targets.ctypes.data, "nats": found.ctypes.data},
        **{"terms": terms.ctypes.data, "factor": factor.ctypes.data},
        **{"rows": rows, "cols": cols, "type": kind},
    )
    cross_entropy(struct)
    struct.slopes = slopes.ctypes.data
    cross_entropy(struct)
    return found, slopes


def nats_twin(logits: Array, targets: NDArray[np.int64], factor: Array) -> tuple[Array, Array]:
    wide = logits.astype("f8")
    shifted = wide - wide.max(1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    rows, counts = np.arange(len(targets)), targets >= 0
    chosen = np.where(counts, targets, 0)
    slopes = np.exp(logs)
    slopes[rows, chosen] -= 1
    return np.where(counts, -logs[rows, chosen], 0), slopes * np.where(counts, factor, 0)[:, None]


@pytest.mark.parametrize("cols", [1, 7, 16, 33, 5000])
@pytest.mark.parametrize("level", [0.0, -300.0, 4000.0])
def test_nats_and_their_slopes_are_those_of_float64(
    cols: int, level: float, random: np.random.Generator
) -> None:
    logits = (random.normal(size=(23, cols)) * 6 + level).astype(np.float32)
    targets = random.integers(0, cols, 23)
    targets[::5] = -100
    factor = random.random(23).astype(np.float32)
    found, slopes = nats(logits, targets, factor)
    expected, wanted = nats_twin(logits, targets, factor)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2e-6)
    np.testing.assert_allclose(slopes, wanted, rtol=4e-6, atol=5e-7)
    assert not found[::5].any() and not slopes[::5].any()


def test_logits_in_bfloat16_are_read_as_they_are_and_slopes_rounded(
    random: np.random.Generator, to_bf16: Callable[[Array], Array], from_bf16: Callable[[Array], Array]
) -> None:
    narrow = to_bf16(random.normal(size=(9, 1003)) * 4)
    targets, factor = random.integers(0, 1003, 9), np.full(9, 0.25, np.float32)
    found, slopes = nats(narrow, targets, factor)
    expected, wanted = nats_twin(from_bf16(narrow), targets, factor)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(from_bf16(slopes), wanted, rtol=4.1e-3, atol=1e-12)
