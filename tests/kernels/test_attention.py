"""Attention against a softmax in float64 that knows no tiles, chunks or blocks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmkit.kernels.attention import AttentionOptions, Cache, attention

pytestmark = pytest.mark.usefixtures("native")
Ints = NDArray[np.int32]


def normal(random: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return random.normal(size=shape).astype(np.float32)


def twin(
    q: NDArray[Any], k: NDArray[Any], v: NDArray[Any], position: int, options: AttentionOptions
) -> NDArray[np.float64]:
    """One query row (H, E) at `position` over k, v (S, K, E): (H, E of v)."""
    group = q.shape[0] // k.shape[1]
    low = max(0, position + 1 - options.window) if options.window else 0
    k, v = (np.repeat(one[low : position + 1].astype("f8"), group, 1) for one in (k, v))
    scores = np.einsum("he,she->hs", q.astype("f8"), k) * options.scale
    if options.softcap:
        scores = options.softcap * np.tanh(scores / options.softcap)
    weights = np.exp(scores)
    total = weights.sum(1) + (0 if options.sinks is None else np.exp(options.sinks.astype("f8")))
    return np.einsum("hs,she->he", weights, v) / total[:, None]


def contiguous(
    random: np.random.Generator, length: int, new: int, heads: int, kv_heads: int, dim: int, value_dim: int
) -> tuple[NDArray[np.float32], Cache]:
    k, v = (normal(random, 1, length, kv_heads, width) for width in (dim, value_dim))
    return normal(random, new, heads, dim), Cache(k, v)


def run(q: NDArray[np.float32], cache: Cache, options: AttentionOptions) -> NDArray[np.float32]:
    starts, lengths = np.array([0, q.shape[0]], np.int32), np.array([cache.k.shape[1]], np.int32)
    return attention(q, cache, lengths, options, query_start=starts)


@pytest.mark.parametrize(
    ("length", "new"), [(1, 1), (2, 2), (63, 1), (65, 7), (130, 50), (1025, 1), (2100, 3)]
)
@pytest.mark.parametrize(
    ("heads", "kv_heads", "dim", "value_dim"),
    [(1, 1, 64, 64), (8, 2, 32, 32), (6, 6, 20, 12), (9, 3, 80, 80), (40, 1, 16, 24), (2, 1, 192, 128)],
)
def test_it_is_softmax_attention_for_any_shape(
    length: int,
    new: int,
    heads: int,
    kv_heads: int,
    dim: int,
    value_dim: int,
    random: np.random.Generator,
    same_on_any_threads: Callable[..., Any],
) -> None:
    q, cache = contiguous(random, length, new, heads, kv_heads, dim, value_dim)
    options = AttentionOptions(scale=dim**-0.5)
    found = same_on_any_threads(lambda: run(q, cache, options))
    expected = [twin(q[i], cache.k[0], cache.v[0], length - new + i, options) for i in range(new)]
    assert np.abs(found - np.stack(expected)).max() < 4e-6


@pytest.mark.parametrize("window", [0, 1, 40, 64, 1030])
@pytest.mark.parametrize("softcap", [0.0, 5.0])
@pytest.mark.parametrize("with_sinks", [False, True])
def test_window_softcap_and_sinks_are_their_formulas(
    window: int, softcap: float, with_sinks: bool, random: np.random.Generator
) -> None:
    for length, new in ((70, 70), (2060, 1), (2060, 5)):
        q, cache = contiguous(random, length, new, 4, 2, 24, 24)
        sinks = normal(random, 4) * 3 if with_sinks else None
        options = AttentionOptions(scale=0.3, window=window, softcap=softcap, sinks=sinks)
        expected = [twin(q[i], cache.k[0], cache.v[0], length - new + i, options) for i in range(new)]
        assert np.abs(run(q, cache, options) - np.stack(expected)).max() < 1e-5


@pytest.mark.parametrize("block_size", [1, 16, 100])
@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int8"])
def test_blocks_in_any_order_hold_any_type(
    block_size: int,
    kind: str,
    random: np.random.Generator,
    to_bf16: Callable[..., NDArray[np.uint16]],
    from_bf16: Callable[..., NDArray[np.float32]],
    same_on_any_threads: Callable[..., Any],
) -> None:
    K, E, lengths, news = 2, 40, [1, 150, 1300, 77], [1, 1, 1, 20]
    width = max(-(-length // block_size) for length in lengths)
    blocks = sum(-(-length // block_size) for length in lengths) + 3
    shape = (blocks, block_size, K, E)
    k, v = normal(random, *shape), normal(random, *shape)
    cache = Cache(k, v)
    if kind == "bfloat16":
        cache = Cache(to_bf16(k), to_bf16(v))
        k, v = from_bf16(cache.k), from_bf16(cache.v)
    elif kind == "int8":
        scales = [np.abs(one).max(-1) / np.float32(127) for one in (k, v)]
        codes = [np.rint(one / s[..., None]).astype(np.int8) for one, s in zip((k, v), scales, strict=True)]
        cache = Cache(*codes, *scales)
        k, v = (code * scale[..., None] for code, scale in zip(codes, scales, strict=True))
    order, table = random.permutation(blocks).astype(np.int32), np.full((4, width), -7, np.int32)
    used = 0
    for b, length in enumerate(lengths):
        count = -(-length // block_size)
        table[b, :count] = order[used : used + count]
        used += count
    q, starts = normal(random, sum(news), 6, E), np.cumsum([0, *news]).astype(np.int32)
    options = AttentionOptions(scale=E**-0.5)
    found = same_on_any_threads(
        lambda: attention(
            q, cache, np.array(lengths, np.int32), options, block_table=table, query_start=starts
        )
    )
    for b, (length, new) in enumerate(zip(lengths, news, strict=True)):
        mine = table[b, : -(-length // block_size)]
        flat_k, flat_v = k[mine].reshape(-1, K, E), v[mine].reshape(-1, K, E)
        for i in range(new):
            expected = twin(q[starts[b] + i], flat_k, flat_v, length - new + i, options)
            assert np.abs(found[starts[b] + i] - expected).max() < 4e-6


def test_a_position_is_the_same_to_the_bit_alone_in_a_chunk_and_in_a_batch(
    random: np.random.Generator,
) -> None:
    q, cache = contiguous(random, 1400, 40, 8, 2, 48, 48)
    options = AttentionOptions(scale=0.2, window=1200)
    chunk = run(q, cache, options)
    lengths = np.arange(1361, 1401, dtype=np.int32)
    copies = Cache(np.repeat(cache.k, 40, 0), np.repeat(cache.v, 40, 0))
    assert np.array_equal(attention(q, copies, lengths, options), chunk)  # one row for each of 40 sequences
    for i in (0, 17, 39):
        assert np.array_equal(attention(q[i : i + 1], cache, lengths[i : i + 1], options)[0], chunk[i])


def test_what_lies_beyond_a_sequence_is_never_read(random: np.random.Generator) -> None:
    q, cache = contiguous(random, 300, 1, 4, 2, 32, 32)
    options = AttentionOptions(scale=0.2, window=100)
    expected = attention(q, cache, np.array([200], np.int32), options)
    cache.k[0, 200:], cache.v[0, 200:] = np.nan, np.inf
    cache.k[0, :64], cache.v[0, :64] = np.nan, np.nan  # before the window, in a tile of its own
    assert np.array_equal(attention(q, cache, np.array([200], np.int32), options), expected)


def test_any_strides_will_do(random: np.random.Generator) -> None:
    q = normal(random, 2, 4, 32)
    k, v = normal(random, 2, 3, 90, 32), normal(random, 2, 3, 90, 32)  # (B, K, S, E), as torch keeps it
    options, lengths = AttentionOptions(scale=0.2), np.array([90, 44], np.int32)
    q = normal(random, 2, 6, 32)
    views = Cache(k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3))
    copies = Cache(views.k.copy(), views.v.copy())
    assert np.array_equal(attention(q, views, lengths, options), attention(q, copies, lengths, options))


def test_large_scores_do_not_overflow(random: np.random.Generator) -> None:
    q, cache = contiguous(random, 100, 1, 2, 1, 16, 16)
    q *= 1e6
    found = run(q, cache, AttentionOptions(scale=1.0))
    best = np.argmax(np.einsum("he,se->hs", q[0].astype("f8"), cache.k[0, :, 0].astype("f8")), 1)
    assert np.array_equal(found[0], cache.v[0, best, 0])


def test_what_does_not_fit_is_refused(random: np.random.Generator) -> None:
    q, cache = contiguous(random, 30, 1, 4, 2, 32, 32)
    options, one = AttentionOptions(scale=0.2), np.array([30], np.int32)
    with pytest.raises(ValueError, match="a length of 31 in room for 30"):
        attention(q, cache, one + 1, options)
    with pytest.raises(ValueError, match="shorter than its new positions"):
        attention(q, cache, one * 0, options)
    with pytest.raises(ValueError, match="lengths is not"):
        attention(q, cache, np.array([30]), options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="q is float32"):
        attention(q[:, :3], cache, one, options)
    with pytest.raises(ValueError, match="do not belong"):
        attention(q, cache, one, options, query_start=np.array([0, 2], np.int32))
    with pytest.raises(ValueError, match="outside the cache's 1"):
        attention(q, cache, one, options, block_table=np.array([[1]], np.int32))
    with pytest.raises(ValueError, match="come with scales"):
        Cache(np.zeros((1, 2, 1, 8), np.int8), np.zeros((1, 2, 1, 8), np.int8))
    with pytest.raises(ValueError, match="sinks are"):
        attention(q, cache, one, AttentionOptions(scale=1, sinks=np.zeros(3, np.float32)))
    with pytest.raises(ValueError, match="not float16"):
        attention(q, Cache(cache.k.astype(np.float16), cache.v.astype(np.float16)), one, options)
