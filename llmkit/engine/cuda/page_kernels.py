"""Triton kernels over keys and values in pages: attention that reads them there, and rotation into them.

Attention is FlashAttention's running softmax (2205.14135) over the blocks of a table (2309.06180), the
queries of a key head as the rows of one product, a long text cut into parts side by side (flash-decoding).
Imported where a GPU is used only: Triton comes with torch's CUDA builds.
Shapes: T new positions of all texts, N texts, H query heads, K key/value heads, E head_dim, R rotary_dim.
"""

import triton
import triton.language as tl

Pointer = tl.tensor  # the first number of a tensor's memory
Number = tl.tensor


@triton.jit
def attend_pages(
    out: Pointer, partial: Pointer, spread: Pointer, q: Pointer, keys: Pointer, values: Pointer,
    table: Pointer, starts: Pointer, lengths: Pointer, tile_text: Pointer, tile_first: Pointer,
    sinks: Pointer, scale: Number, cap: Number, window: Number, q_token: Number, q_head: Number,
    kept_row: Number, kept_head: Number, table_row: Number, heads: Number,
    GROUP: tl.constexpr, E: tl.constexpr, WIDTH: tl.constexpr, BLOCK_TOKENS: tl.constexpr,
    ROWS: tl.constexpr, TILE: tl.constexpr, SPLITS: tl.constexpr, HAS_CAP: tl.constexpr,
    HAS_WINDOW: tl.constexpr, HAS_SINKS: tl.constexpr, PRECISION: tl.constexpr,
) -> None:  # fmt: skip
    """One tile of queries of a text, those of one key head, against one part of its positions.

    A row is a query of one head: row // GROUP counts positions from the tile's first, row % GROUP the heads.
    With several parts, what each found goes to `partial` and `spread`, for `join_parts`.
    """
    tile, kv_head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    text, first = tl.load(tile_text + tile), tl.load(tile_first + tile)
    begin = tl.load(starts + text)
    count = tl.load(starts + text + 1) - begin
    before = tl.load(lengths + text) - count
    rows = tl.arange(0, ROWS)
    at = first + rows // GROUP
    head = kv_head * GROUP + rows % GROUP
    real = (rows < ROWS // GROUP * GROUP) & (at < count)
    e = tl.arange(0, WIDTH)
    own = e < E
    query = tl.load(
        q + (begin + at)[:, None].to(tl.int64) * q_token + head[:, None] * q_head + e[None, :],
        mask=real[:, None] & own[None, :],
        other=0.0,
    )
    high = before + tl.minimum(first + ROWS // GROUP, count)
    low = 0
    if HAS_WINDOW:
        low = tl.maximum(0, before + first - window + 1) // TILE * TILE
    each = tl.cdiv(tl.cdiv(high - low, TILE), SPLITS) * TILE
    low += split * each
    most = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    taken = tl.zeros((ROWS, WIDTH), tl.float32)
    for begin_at in range(low, tl.minimum(low + each, high), TILE):
        position = begin_at + tl.arange(0, TILE)
        inside = position < high
        block = tl.load(table + text * table_row + position // BLOCK_TOKENS, mask=inside, other=0)
        row = block.to(tl.int64) * BLOCK_TOKENS + position % BLOCK_TOKENS
        place = row * kept_row + kv_head * kept_head
        key = tl.load(keys + place[None, :] + e[:, None], mask=inside[None, :] & own[:, None], other=0.0)
        scores = tl.dot(query, key.to(query.dtype), input_precision=PRECISION) * scale
        if HAS_CAP:  # cap * tanh(scores / cap)
            scores = cap * (2.0 * tl.sigmoid(2.0 * scores / cap) - 1.0)
        seen = inside[None, :] & (position[None, :] <= before + at[:, None])
        if HAS_WINDOW:
            seen = seen & (position[None, :] > before + at[:, None] - window)
        scores = tl.where(seen, scores, float("-inf"))
        above = tl.maximum(most, tl.max(scores, 1))
        steady = tl.where(above == float("-inf"), 0.0, above)  # a row that has seen nothing yet
        weights = tl.exp(scores - steady[:, None])
        fade = tl.exp(most - steady)
        value = tl.load(values + place[:, None] + e[None, :], mask=inside[:, None] & own[None, :], other=0.0)
        total = total * fade + tl.sum(weights, 1)
        taken = taken * fade[:, None] + tl.dot(
            weights.to(query.dtype), value.to(query.dtype), input_precision=PRECISION
        )
        most = above
    line = (begin + at).to(tl.int64) * heads + head
    if SPLITS == 1:
        if HAS_SINKS:  # a key without a value
            sink = tl.load(sinks + head, mask=real, other=0.0).to(tl.float32)
            above = tl.maximum(most, sink)
            fade = tl.exp(most - above)
            total = total * fade + tl.exp(sink - above)
            taken = taken * fade[:, None]
        result = taken / tl.where(total > 0.0, total, 1.0)[:, None]
        tl.store(
            out + line[:, None] * E + e[None, :],
            result.to(out.dtype.element_ty),
            mask=real[:, None] & own[None, :],
        )
    else:
        line = line * SPLITS + split
        tl.store(partial + line[:, None] * E + e[None, :], taken, mask=real[:, None] & own[None, :])
        tl.store(spread + line * 2, most, mask=real)
        tl.store(spread + line * 2 + 1, total, mask=real)


@triton.jit
def join_parts(
    out: Pointer, partial: Pointer, spread: Pointer, sinks: Pointer, heads: Number,
    E: tl.constexpr, WIDTH: tl.constexpr, SPLITS: tl.constexpr, HAS_SINKS: tl.constexpr,
) -> None:  # fmt: skip
    """What the parts of a text gave one query of one head, as one softmax would have given it."""
    line = tl.program_id(0).to(tl.int64)
    split, e = tl.arange(0, SPLITS), tl.arange(0, WIDTH)
    own = e < E
    most = tl.load(spread + (line * SPLITS + split) * 2)
    total = tl.load(spread + (line * SPLITS + split) * 2 + 1)
    above = tl.max(most, 0)
    extra = 0.0
    if HAS_SINKS:
        sink = tl.load(sinks + line % heads).to(tl.float32)
        above = tl.maximum(above, sink)
        extra = tl.exp(sink - above)
    share = tl.where(total > 0.0, tl.exp(most - above), 0.0)
    taken = tl.load(partial + (line * SPLITS + split)[:, None] * E + e[None, :], mask=own[None, :], other=0.0)
    result = tl.sum(taken * share[:, None], 0) / (tl.sum(total * share, 0) + extra)
    tl.store(out + line * E + e, result.to(out.dtype.element_ty), mask=own)


@triton.jit
def rotate_into_pages(
    rotated: Pointer, keys: Pointer, values: Pointer, q: Pointer, k: Pointer, v: Pointer, cos: Pointer,
    sin: Pointer, places: Pointer, q_token: Number, q_head: Number, k_token: Number, k_head: Number,
    v_token: Number, v_head: Number, kept_row: Number, kept_head: Number, heads: Number,
    E: tl.constexpr, WIDTH: tl.constexpr, R: tl.constexpr, INTERLEAVED: tl.constexpr,
) -> None:  # fmt: skip
    """One head of one position: a query is rotated, a key rotated into its place, its value copied there.

    As `model.rope.rotate` has it, in float32: pairs come out in two halves, and what is beyond R stays.
    """
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    e = tl.arange(0, WIDTH)
    own = e < E
    half = R // 2
    pair = tl.where(e < half, e, e - half)
    one = 2 * pair if INTERLEAVED else pair
    other = one + 1 if INTERLEAVED else one + half
    turns = own & (e < R)
    c = tl.load(cos + token * half + pair, mask=turns, other=1.0)
    s = tl.load(sin + token * half + pair, mask=turns, other=0.0)
    place = tl.load(places + token) * kept_row
    is_query = head < heads
    source = q + token * q_token + head * q_head
    if not is_query:
        source = k + token * k_token + (head - heads) * k_head
    x = tl.load(source + tl.where(e < R, one, e), mask=own, other=0.0).to(tl.float32)
    y = tl.load(source + other, mask=turns, other=0.0).to(tl.float32)
    turned = tl.where(e < half, x * c - y * s, y * c + x * s)
    result = tl.where(e < R, turned, x)
    if is_query:
        tl.store(rotated + (token * heads + head) * E + e, result.to(rotated.dtype.element_ty), mask=own)
    else:
        kept = place + (head - heads) * kept_head + e
        tl.store(keys + kept, result.to(keys.dtype.element_ty), mask=own)
        value = tl.load(v + token * v_token + (head - heads) * v_head + e, mask=own, other=0.0)
        tl.store(values + kept, value.to(values.dtype.element_ty), mask=own)
