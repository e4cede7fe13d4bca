"""Attention against a softmax in float64 that knows no tiles, chunks or blocks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.kernels.native.calls import AttentionOptions, Cache, attention, keep

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
    if options.chunked:
        low = position - position % options.window
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


@pytest.mark.parametrize("window", [1, 40, 64, 1030])
def test_windows_side_by_side_begin_at_their_multiples(window: int, random: np.random.Generator) -> None:
    options = AttentionOptions(scale=0.3, window=window, chunked=True)
    for length, new in ((70, 70), (2060, 1), (2061, 1), (2063, 5)):  # 2061 begins a window of 1030
        q, cache = contiguous(random, length, new, 4, 2, 24, 24)
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


def stored_as(kind: str, cache: Cache, to_bf16: Callable[..., NDArray[np.uint16]]) -> Cache:
    if kind == "float32":
        return cache
    if kind == "bfloat16":
        return Cache(to_bf16(cache.k), to_bf16(cache.v))
    coded = [in_codes(one) for one in (cache.k, cache.v)]
    return Cache(coded[0][0], coded[1][0], coded[0][1], coded[1][1])


def in_codes(x: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """The formula, in numpy; x is finite, and no head of it all but 0."""
    most = np.abs(x).max(-1)
    return np.rint(x * (np.float32(127) / most)[..., None]).astype(np.int8), most / np.float32(127)


@pytest.mark.parametrize("dim", [24, 48, 64, 80, 128, 200])
@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("heads", [2, 4, 6, 10, 16])
def test_few_query_rows_have_the_bits_that_they_have_among_many(
    dim: int,
    kind: str,
    heads: int,
    random: np.random.Generator,
    to_bf16: Callable[..., NDArray[np.uint16]],
    same_on_any_threads: Callable[..., Any],
) -> None:
    q, cache = contiguous(random, 200, 12, heads, 2, dim, dim)
    cache = stored_as(kind, cache, to_bf16)
    options = AttentionOptions(scale=dim**-0.5, softcap=3.0, window=100, sinks=normal(random, heads))
    many = same_on_any_threads(lambda: run(q, cache, options))  # heads / 2 rows of one key head times 12
    for i in (0, 5, 11):
        length = np.array([189 + i], np.int32)
        one = same_on_any_threads(lambda i=i, length=length: attention(q[i : i + 1], cache, length, options))
        assert np.array_equal(one[0], many[i])


@pytest.mark.parametrize("heads_and_dim", [(1, 5), (3, 40), (2, 64), (8, 128)])
@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int8"])
def test_what_is_kept_is_rounded_as_the_formula_says(
    heads_and_dim: tuple[int, int],
    kind: str,
    random: np.random.Generator,
    to_bf16: Callable[..., NDArray[np.uint16]],
    same_on_any_threads: Callable[..., Any],
) -> None:
    new = normal(random, 30, *heads_and_dim) * np.float32(10) ** random.integers(-9, 9, (30, 1, 1))
    new = new.astype(np.float32)
    places = random.permutation(50)[:30].astype(np.int32)
    kinds: dict[str, Any] = {"float32": np.float32, "bfloat16": np.uint16, "int8": np.int8}
    memory = np.full((50, *heads_and_dim), 77, kinds[kind])
    scales = np.full((50, heads_and_dim[0]), 7, np.float32) if kind == "int8" else None

    def kept() -> NDArray[Any]:
        keep(new, memory, places, scales)
        return memory.copy()

    found = same_on_any_threads(kept)
    codes, expected_scales = in_codes(new)
    expected = {"float32": lambda: new, "bfloat16": lambda: to_bf16(new), "int8": lambda: codes}[kind]()
    assert np.array_equal(found[places], expected)
    assert (np.delete(found, places, 0) == 77).all()
    if scales is not None:
        assert np.array_equal(scales[places], expected_scales)
        assert (np.delete(scales, places, 0) == 7).all()


def test_a_head_of_zeros_is_kept_as_zeros_and_one_that_is_not_finite_spoils_its_own_scores_only() -> None:
    new = np.ones((5, 1, 20), np.float32)
    new[0], new[1, 0, 3], new[2, 0, 19], new[3] = 0, np.nan, -np.inf, 1e-38
    codes, scales = np.empty((5, 1, 20), np.int8), np.empty((5, 1), np.float32)
    keep(new, codes, np.arange(5, dtype=np.int32), scales)
    assert not codes[0].any() and scales[0, 0] == 0
    assert np.isnan(scales[1:3]).all()
    assert not codes[3].any() and scales[3, 0] == 0  # below 2^-100
    assert (codes[4] == 127).all() and scales[4, 0] == np.float32(1) / np.float32(127)


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
