"""Where new positions stand and what they may see: the same for every layer of one kind, made once a pass.

Shapes: B batch, T new positions, S all positions (cached and new, or of a row that others have parts of),
R rotary_dim.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from llmkit.model.segments import segment_positions
from llmkit.model.shared_keys import SharedKeys
from llmkit.model.window import ALL, Window


@dataclass(frozen=True, slots=True)
class Span:
    """New positions of one text."""

    start: int
    """Positions of the text before them."""
    count: int
    reach: int = 0
    """Positions of the text that are known, where these are more: rotations may depend on them."""

    @property
    def end(self) -> int:
        """Positions of the text after the pass."""
        return self.start + self.count


class RowParts(Protocol):
    """Rows of which this process has some positions, and others have the rest."""

    def spans(self, count: int) -> Sequence[Span]:
        """Where the `count` positions of a row that are here stand in it, in their order here."""

    def gather(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys (B, K, T, E) and values (B, K, T, X) of this process to those of whole rows, T to S.

        Every process of the rows has to call this.
        """


class Stretch:
    """Positions of a row that stand side by side, and those that they see.

    It is no dataclass: FSDP copies these on their way into a layer, and each layer would have its own masks.

    Args:
        queries: of those here.
        keys: of the row.
        mask: as `Layout.mask` has it.
    """

    def __init__(self, queries: slice, keys: slice, mask: Tensor | None) -> None:
        self.queries = queries
        self.keys = keys
        self.mask = mask
        self._added: dict[torch.dtype, Tensor] = {}

    def added(self, dtype: torch.dtype) -> Tensor | None:
        """The mask as what is added to scores, 0 or -inf, made once for all layers.

        A kernel that is given the mask makes the same of it, and each layer would keep its own.
        """
        if self.mask is None:
            return None
        if dtype in self._added:
            return self._added[dtype]
        zeros = torch.zeros(self.mask.shape, dtype=dtype, device=self.mask.device)
        added = zeros.masked_fill(~self.mask, float("-inf"))
        if not torch.compiler.is_compiling():  # a layer that is computed again may leave nothing behind
            self._added[dtype] = added
        return added


@dataclass(frozen=True)
class Layout:
    """What a layer needs to know of positions."""

    cos: Tensor | None = None
    """(T, R / 2) or (B, 1, T, R / 2) float32; None where nothing is rotated."""
    sin: Tensor | None = None
    mask: Tensor | None = None
    """(T, S) or (B, 1, T, S) bool, True where a query may look; None for plain causal attention."""
    window: Window = ALL
    """What a query sees. The mask has it already."""
    starts: Tensor | None = None
    """What `attend_documents` is told in place of the mask, where it can compute it."""
    parts: RowParts | None = None
    """Where a row is more than what is here; then `stretches` stand in the place of the mask."""
    stretches: tuple[Stretch, ...] = ()
    first: Tensor | None = None
    """(B, T) or (T,) int32 the first position of its row that each sees, where the rows are whole and there
    is a mask: what `attend_learning` is told in its place."""
    segments: Tensor | None = None
    """(B, T) which document each position belongs to, where rows have several: for layers of state."""
    query_scale: Tensor | None = None
    """(T, 1) or (B, 1, T, 1) float32: what queries are multiplied with; None where they do not grow."""
    shared: SharedKeys | None = None
    """Where layers of one kind leave and find keys and values, in models whose last layers have none."""
    own: Tensor | None = None
    """(B, T, P) the layer's own embeddings of the positions, where it has some."""


def first_seen(positions: Tensor, window: Window) -> Tensor:
    """The first position of its row that each sees.

    Args:
        positions: (B, T) or (T,) of whole rows, beginning again with each document.
        window: what each sees.

    Returns:
        (B, T) or (T,) int32.
    """
    before = positions
    if (size := window.size) is not None:
        before = positions % size if window.chunked else positions.clamp(max=size - 1)
    return (torch.arange(positions.shape[-1], device=positions.device) - before).int()


def layout_mask(
    start: int,
    length: int,
    device: torch.device,
    *,
    window: Window = ALL,
    segments: Tensor | None = None,
) -> Tensor | None:
    """Which of the S = start + length positions each new one sees; None where that is plain causal attention.

    Args:
        start: positions cached before the new ones.
        length: T.
        device: of the mask.
        window: what each sees; chunks begin anew with each document.
        segments: (B, S) which document each token belongs to, of which it sees no other.
    """
    end = start + length
    size = window.size
    hidden_by_window = size is not None and size < end
    causal = start == 0 or length == 1  # what scaled_dot_product_attention does by itself
    if causal and not hidden_by_window and segments is None:
        return None
    mask = torch.ones(length, end, dtype=torch.bool, device=device).tril(start)
    if hidden_by_window and size is not None:
        seen = _in_chunk(start, mask, size, segments) if window.chunked else mask.triu(start - size + 1)
        mask = mask & seen
    if segments is not None:
        mask = mask & (segments[:, None, start:end, None] == segments[:, None, None, :end])
    return mask


def _in_chunk(start: int, mask: Tensor, size: int, segments: Tensor | None) -> Tensor:
    """Of each new position which are not before its chunk: (T, S) or (B, 1, T, S) bool.

    Args:
        start: positions before the new ones.
        mask: (T, S).
        size: of a chunk.
        segments: (B, S), each of which has chunks of its own.
    """
    at = torch.arange(mask.shape[-1], device=mask.device)
    positions = at if segments is None else segment_positions(segments[:, : len(at)])
    first = (at - positions % size)[..., start:, None]
    seen = at >= first
    return seen if segments is None else seen[:, None]


def row_stretches(
    spans: Sequence[Span], device: torch.device, *, window: Window = ALL, segments: Tensor | None = None
) -> tuple[Stretch, ...]:
    """What the positions of a row that are here see of it.

    Args:
        spans: where they stand.
        device: of the masks.
        window, segments: as for `layout_mask`.
    """
    stretches, at = [], 0
    for span in spans:
        mask = layout_mask(span.start, span.count, device, window=window, segments=segments)
        # A chunk of a document may begin anywhere in it.
        first = (window if segments is None else Window(window.size)).first_seen(span.start)
        seen = slice(first, span.end)
        stretches.append(
            Stretch(slice(at, at + span.count), seen, None if mask is None else mask[..., first:])
        )
        at += span.count
    return tuple(stretches)
