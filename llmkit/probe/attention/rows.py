"""Rows of attention: what queries of one head look at, written out for as many at a time as memory allows.

Rows are exact: a row has all of its keys, so that its softmax is one, and a block of rows is n x S numbers
where the whole matrix would be T x T.

Shapes: T positions, n queries of a block, S keys that any of them sees, H query heads, X numbers of a value,
D hidden_size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.model.window import Window
from llmkit.probe.attention.capture import Captured

BLOCK_NUMBERS = 1 << 19
"""Numbers of a block of rows: 2 MiB of float32, of which a processor's cache holds a few."""
BLOCK_QUERIES = 64
"""Rows of a block at most."""
Queries = slice | Sequence[int] | Tensor | None


@dataclass(frozen=True)
class Frame:
    """Some queries and the keys that any of them sees: the same for every head of a layer."""

    queries: Tensor
    """(n,) int64 positions."""
    keys: slice
    """Positions of the S keys."""
    window: Window
    """As the layer's."""

    @property
    def first(self) -> int:
        """Position of the first key."""
        return int(self.keys.start)

    @property
    def hidden(self) -> Tensor:
        """(n, S) bool: which keys a query does not see."""
        return self._hidden(slice(0, self.keys.stop - self.first))

    @property
    def seen(self) -> Tensor:
        """(n,) int64: how many keys each query sees."""
        size = self.window.size
        if size is None:
            return self.queries + 1
        return self.queries % size + 1 if self.window.chunked else (self.queries + 1).clamp(max=size)

    def hide_(self, values: Tensor, fill: float) -> Tensor:
        """values: (n, S), written over where a query does not see a key.

        Only columns of which some are hidden are looked at: most are seen by all.
        """
        low, high = int(self.queries.min()), int(self.queries.max())
        after = slice(low + 1 - self.first, self.keys.stop - self.first)
        values[:, after].masked_fill_(self._hidden(after), fill)
        if (end := self.window.first_seen(high) - self.first) > 0:
            values[:, :end].masked_fill_(self._hidden(slice(0, end)), fill)
        return values

    def _hidden(self, columns: slice) -> Tensor:
        """(n, columns) bool."""
        keys = torch.arange(self.first + columns.start, self.first + columns.stop, device=self.queries.device)
        hidden = keys > self.queries[:, None]
        if self.window.size is not None:
            hidden |= keys <= (self.queries - self.seen)[:, None]
        return hidden


@dataclass(frozen=True)
class Rows:
    """The rows of a frame in one head."""

    frame: Frame
    scores: Tensor
    """(n, S) before the softmax, scaled and capped; -inf where a key is not seen."""
    weights: Tensor
    """(n, S) after it, 0 where a key is not seen. A row and its null share add up to 1."""
    null: Tensor
    """(n,) the share of the learnt sink that has no position and no value; 0 where there is none."""

    @property
    def first(self) -> int:
        """Position of the first of S keys."""
        return self.frame.first


def frame_of(captured: Captured, queries: Tensor) -> Frame:
    """queries: (n,) int64 positions, at least one, on the layer's device, in any order."""
    keys = slice(captured.first_key(int(queries.min())), int(queries.max()) + 1)
    return Frame(queries, keys, captured.window)


def rows_of(
    captured: Captured, head: int, queries: Tensor | Frame, *, dtype: torch.dtype = torch.float32
) -> Rows:
    """Rows of some queries.

    Args:
        captured: the layer.
        head: from 0.
        queries: (n,) int64 positions, at least one, on the layer's device, in any order; or their frame, made
            once for all heads.
        dtype: of the arithmetic, whatever the model's is.
    """
    frame = queries if isinstance(queries, Frame) else frame_of(captured, queries)
    q = captured.q[head, frame.queries].to(dtype) * captured.scale
    k = captured.k[captured.group(head), frame.keys].to(dtype)
    scores = q @ k.T
    if captured.softcap is not None:
        scores.div_(captured.softcap).tanh_().mul_(captured.softcap)
    frame.hide_(scores, float("-inf"))
    if captured.sinks is None:
        return Rows(frame, scores, scores.softmax(dim=-1), scores.new_zeros(len(scores)))
    sink = captured.sinks[head].to(dtype).expand(len(scores), 1)
    weights = torch.cat((scores, sink), dim=-1).softmax(dim=-1)
    return Rows(frame, scores, weights[:, :-1], weights[:, -1])


def blocks(
    captured: Captured, *, numbers: int = BLOCK_NUMBERS, most_queries: int = BLOCK_QUERIES
) -> Iterator[Tensor]:
    """Positions of all queries in runs whose rows are about so many numbers, at least one query each."""
    start, T = 0, captured.tokens
    while start < T:
        count = min(_most(captured, start, numbers), most_queries)
        yield torch.arange(start, start + count, device=captured.q.device)
        start += count


def frames(captured: Captured) -> Iterator[Frame]:
    """The frames of all blocks: each is made once for all heads."""
    return (frame_of(captured, queries) for queries in blocks(captured))


def attention_rows(
    captured: Captured,
    head: int,
    queries: Queries = None,
    *,
    before: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Rows over all keys of the text.

    Args:
        captured: the layer.
        head: from 0; a negative one counts from the end.
        queries: which, as a slice, positions (negative ones from the end), or None for all.
        before: scores before the softmax, scaled and capped, -inf where a key is not seen; else weights.
        dtype: of the arithmetic and of what comes back.

    Returns:
        (n, T).

    Raises:
        UsageError: no such head or query.
    """
    chosen = positions_of(captured, queries)
    head = head_of(captured, head)
    out = torch.full(
        (len(chosen), captured.tokens), float("-inf") if before else 0.0, dtype=dtype, device=chosen.device
    )
    if len(chosen):
        frame = frame_of(captured, chosen)
        rows = rows_of(captured, head, frame, dtype=dtype)
        out[:, frame.keys] = rows.scores if before else rows.weights
    return out


def head_of(captured: Captured, head: int) -> int:
    """A head's number from 0.

    Raises:
        UsageError: the layer has no such head.
    """
    if not -captured.heads <= head < captured.heads:
        raise UsageError(
            f"no head {head} in layer {captured.layer}", hint=f"its heads are 0 to {captured.heads - 1}"
        )
    return head % captured.heads


def positions_of(captured: Captured, queries: Queries) -> Tensor:
    """Positions from 0, (n,) int64, in the order given.

    Raises:
        UsageError: the text has no such position.
    """
    T, device = captured.tokens, captured.q.device
    everything = torch.arange(T, device=device)
    if queries is None:
        return everything
    if isinstance(queries, slice):
        return everything[queries]
    chosen = torch.as_tensor(queries, dtype=torch.int64, device=device)
    if wrong := [int(one) for one in chosen if not -T <= one < T]:
        raise UsageError(f"no token {wrong[0]} in a text of {T}", hint=f"tokens are 0 to {T - 1}")
    return chosen % T


@torch.no_grad()
def head_output(captured: Captured, head: int, mixed: Tensor) -> Tensor:
    """What a head's mixed values, (n, X), add to the stream through the output matrix: (n, D).

    The matrix is only called, so that adapters and codes are in it; the bias, which belongs to no head, is
    taken off.
    """
    X = captured.v.shape[-1]
    wide = mixed.new_zeros(len(mixed) + 1, captured.heads * X)
    wide[1:, head * X : (head + 1) * X] = mixed
    out: Tensor = captured.o_proj(wide.to(captured.v.dtype))
    return out[1:] - out[0]


def value_norms(captured: Captured, head: int, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """How much each key's value can move the stream: ||v_j W_O|| of one head, (T,).

    Source: Kobayashi et al. 2020, arXiv:2004.10102.
    """
    v = captured.v[captured.group(head)]
    run = max(1, BLOCK_NUMBERS // (captured.heads * v.shape[-1]))
    parts = [head_output(captured, head, v[at : at + run]).to(dtype) for at in range(0, len(v), run)]
    return torch.cat([part.norm(dim=-1) for part in parts])


def _most(captured: Captured, start: int, numbers: int) -> int:
    """Queries from `start` on whose rows are about `numbers` numbers."""
    left = captured.tokens - start
    size = captured.window.size
    if size is None:  # n (start + n) numbers
        count = int((-start + (start * start + 4 * numbers) ** 0.5) / 2)
    else:  # n (window + n) at most
        count = int((-size + (size**2 + 4 * numbers) ** 0.5) / 2)
    return max(1, min(left, count))
