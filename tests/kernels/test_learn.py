"""Attention and cross-entropy of training, forwards and backwards, against float64 that holds all scores."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmkit.kernels import learn
from llmkit.kernels.learn import (
    CrossEntropyStruct,
    LearntAttentionStruct,
    cross_entropy,
    learnt_attention,
    learnt_attention_bytes,
)
from llmkit.kernels.memory import ValueType
from tests.kernels.header import check_fields

pytestmark = pytest.mark.usefixtures("native")
Array = NDArray[Any]
Terms = tuple[float, Array | None]
SHAPES = [
    *((1, 1, 1, 1, 32, 32), (2, 4, 2, 63, 64, 64), (1, 3, 3, 64, 32, 32), (1, 6, 1, 130, 96, 96)),
    *((2, 2, 2, 200, 64, 64), (1, 2, 1, 330, 96, 64), (2, 2, 2, 70, 32, 128)),
]
"""Rows, query heads, key/value heads, positions, numbers of a key, of a value."""
PLAIN = (0.0, None)


def documents(random: np.random.Generator, rows: int, length: int) -> NDArray[np.int32]:
    """Where the document of each position begins, with a window of 70 in the first row."""
    begins = random.random((rows, length)) < 0.05
    first = np.maximum.accumulate(np.where(begins, np.arange(length), 0), axis=1)
    first[0] = np.maximum(first[0], np.arange(length) - 69)
    return first.astype(np.int32)


def twin(
    q: Array, k: Array, v: Array, first: Array | None, g: Array, scale: float, terms: Terms = PLAIN
) -> list[Array]:
    """Out (R, T, H, X) and the gradients of q, k and v, (R, T, heads, E or X), in float64.

    terms: what scores are capped at, or nought, and the sink of each head.
    """
    cap, sinks = terms
    group, length = q.shape[1] // k.shape[1], q.shape[2]
    q, g = q.astype("f8"), g.astype("f8")
    k, v = (np.repeat(one.astype("f8"), group, 1) for one in (k, v))
    places = np.arange(length)
    seen = (places[None, None, None] <= places[:, None]) & True
    if first is not None:
        seen = seen & (places >= first[:, None, :, None])
    scores, steep = np.einsum("rhte,rhse->rhts", q, k) * scale, 1.0
    if cap:
        scores = cap * np.tanh(scores / cap)
        steep = 1 - (scores / cap) ** 2
    weights = np.where(seen, np.exp(scores), 0.0)
    sink = 0.0 if sinks is None else np.exp(sinks.astype("f8"))[:, None, None]
    weights /= weights.sum(-1, keepdims=True) + sink
    out = weights @ v
    slopes = np.einsum("rhte,rhse->rhts", g, v)
    slopes = weights * (slopes - (g * out).sum(-1, keepdims=True)) * scale * steep
    per_head = [slopes.swapaxes(2, 3) @ q, weights.swapaxes(2, 3) @ g]
    shared = [one.reshape(len(q), -1, group, *one.shape[2:]).sum(2) for one in per_head]
    return [one.swapaxes(1, 2) for one in (out, slopes @ k, *shared)]


def attend(
    q: Array, k: Array, v: Array, first: Array | None, g: Array, scale: float, terms: Terms = PLAIN
) -> list[Array]:
    """The same by the kernel: forwards, then backwards."""
    rows, heads, length, key_dim = q.shape
    cap, sinks = terms
    kind = ValueType.FLOAT32 if q.dtype == np.float32 else ValueType.BFLOAT16
    struct = LearntAttentionStruct(
        **{"type": kind, "rows": rows, "heads": heads, "kv_heads": k.shape[1], "length": length},
        **{"key_dim": key_dim, "value_dim": v.shape[-1], "scale": scale, "softcap": cap},
        **{"first": None if first is None else first.ctypes.data},
        **{"sinks": None if sinks is None else sinks.ctypes.data},
    )
    for name, array in {"q": q, "k": k, "v": v, "g": g}.items():
        setattr(struct, "d_out" if name == "g" else name, array.ctypes.data)
        for step, stride in zip(("row", "head", "token"), array.strides, strict=False):
            setattr(struct, f"{name}_{step}", stride // array.itemsize)
    made = [np.zeros((rows, length, one.shape[1], one.shape[-1]), q.dtype) for one in (g, q, k, v)]
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
    rows, heads, kv_heads, length, key_dim, value_dim = shape
    sizes = ((heads, key_dim), (kv_heads, key_dim), (kv_heads, value_dim), (heads, value_dim))
    drawn = [random.normal(size=(rows, length, *size)) for size in sizes]
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
    q, k, v, g = (from_bf16(one) for one in narrow)
    expected = twin(q, k, v, first, g, 0.1)
    found = attend(narrow[0], narrow[1], narrow[2], first, narrow[3], 0.1)
    for one, wanted in zip(found, expected, strict=True):
        assert off(from_bf16(one), wanted) < 8e-3  # half a unit of bfloat16 is 4e-3 at most


@pytest.mark.parametrize("terms", [(0.0, [0.5, -1.0, 3.0]), (2.0, None), (5.0, [0.0, 0.0, 9.0])])
def test_capped_scores_and_sinks_and_their_gradients_are_those_of_float64(
    terms: tuple[float, list[float] | None], random: np.random.Generator
) -> None:
    q, k, v, g = inputs(random, (2, 3, 1, 130, 64, 32))
    first = documents(random, 2, 130)
    told = (terms[0], None if terms[1] is None else np.array(terms[1], np.float32))
    expected = twin(q, k, v, first, g, 0.2, told)
    for found, wanted in zip(attend(q, k, v, first, g, 0.2, told), expected, strict=True):
        assert off(found, wanted) < 3e-6


@pytest.mark.parametrize("shape", [(2, 4, 2, 130, 64, 64), (1, 3, 1, 600, 32, 64), (3, 1, 1, 200, 64, 32)])
@pytest.mark.parametrize("half", [False, True])
def test_bits_are_the_same_with_a_task_for_each_thread_and_with_one_for_all(
    shape: tuple[int, ...],
    half: bool,
    random: np.random.Generator,
    to_bf16: Callable[[Array], Array],
    same_on_any_threads: Callable[[Callable[[], Array]], Array],
) -> None:
    q, k, v, g = (to_bf16(one) if half else one for one in inputs(random, shape))
    first = documents(random, shape[0], shape[3])
    same_on_any_threads(lambda: np.concatenate([one.ravel() for one in attend(q, k, v, first, g, 0.1)]))


def test_each_thread_has_memory_for_the_keys_of_a_task() -> None:
    sizes = {"rows": 1, "heads": 4, "kv_heads": 1, "key_dim": 128, "value_dim": 128, "d_out": 1}

    def touched(length: int) -> int:
        return learnt_attention_bytes(LearntAttentionStruct(type=ValueType.FLOAT32, length=length, **sizes))

    # keys and values twice as products want them, keys once more, and both gradients, in float32
    assert touched(32_768) - touched(0) == 32_768 * 128 * 5 * 4


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


def test_every_field_stands_where_the_header_has_it(tmp_path: Path) -> None:
    check_fields(learn, "learn.h", tmp_path)
