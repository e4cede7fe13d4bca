"""Patterns that a head may follow, and how much of its attention does, by TransformerLens' definitions.

A pattern P says of every pair of query i and key j <= i whether the head would look there:

- previous token: j = i - 1
- duplicate token: j < i and the tokens are the same
- induction: the token before j is the same as i, j - 1 < i: what came after the last time

Source: `detect_head` in TransformerLens' head_detector.py; induction: Olsson et al. 2022, arXiv:2209.11895.

Shapes: T positions, n queries of a block, S keys that any of them sees.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.probe.attention.capture import Captured
from llmkit.probe.attention.rows import Frame, Rows, frame_of, rows_of

Measure = Literal["mul", "abs"]
PatternName = Literal["previous_token", "duplicate", "induction"]
PATTERNS: tuple[PatternName, ...] = ("previous_token", "duplicate", "induction")


@dataclass(frozen=True)
class Sums:
    """A sum over all pairs, and over those that may be left out."""

    everywhere: float = 0.0
    bos: float = 0.0
    """Over the first key."""
    current: float = 0.0
    """Over each query's own position."""
    both: float = 0.0
    """Of the first query with itself, which is in both."""

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.everywhere + other.everywhere,
            self.bos + other.bos,
            self.current + other.current,
            self.both + other.both,
        )

    def without(self, *, bos: bool, current: bool) -> float:
        """The sum over the pairs that are left."""
        return (
            self.everywhere
            - (self.bos if bos else 0.0)
            - (self.current if current else 0.0)
            + (self.both if bos and current else 0.0)
        )


@dataclass(frozen=True)
class Match:
    """How a head's attention A and a pattern P meet over a text: enough for both measures."""

    tokens: int
    """T."""
    inside: Sums
    """Of A where P is."""
    attention: Sums
    """Of A."""
    pairs: Sums
    """Of P."""

    def score(
        self, measure: Measure = "mul", *, exclude_bos: bool = False, exclude_current_token: bool = False
    ) -> float:
        """How well the head follows the pattern.

        mul: sum(A P) / sum(A), the share of attention that is in the pattern; 0 where nothing is left of A.
        abs: 1 - sum(|A - P|) / T; 1 is the pattern itself. TransformerLens rounds this to three decimals.

        Args:
            exclude_bos: leave the first key out of both sums.
            exclude_current_token: leave each query's own position out.
        """
        left = {"bos": exclude_bos, "current": exclude_current_token}
        inside, attention = self.inside.without(**left), self.attention.without(**left)
        if measure == "mul":
            return inside / attention if attention else 0.0
        # A is in [0, 1] and P is 0 or 1: |A - P| = A + P - 2 A P
        return 1.0 - (attention + self.pairs.without(**left) - 2 * inside) / self.tokens


class PatternBlock:
    """Where the patterns are among the pairs of a frame, the same for every head."""

    def __init__(self, ids: Tensor, frame: Frame) -> None:
        """
        Args:
            ids: (T,) of the whole text.
            frame: its last key is its last query.
        """
        i, j = frame.queries[:, None], torch.arange(frame.first, frame.keys.stop, device=ids.device)
        asked = ids[frame.queries][:, None]
        before = torch.full_like(j, -1)  # the first key comes after nothing
        before[j > 0] = ids[j[j > 0] - 1]
        self._first = frame.first
        self._own = (frame.queries - frame.first)[:, None]
        matches = ((ids[frame.keys] == asked) & (j < i), (before == asked) & (j <= i))
        self._found = [self._places(one) for one in matches]

    def attention(self, rows: Rows) -> Sums:
        """The sums of all weights of the frame's rows: each has what its null share leaves of 1."""
        own, weights = self._own, rows.weights
        return Sums(
            _total(1 - rows.null),
            _total(weights[:, 0]) if self._first == 0 else 0.0,
            _total(weights.gather(1, own)),
            float(weights[0, 0]) if self._first == 0 and own[0] == 0 else 0.0,
        )

    def inside(self, weights: Tensor) -> list[Sums]:
        """weights: (n, S). The sums of what is in each pattern, in the order of PATTERNS."""
        column = self._own - 1
        previous = weights.gather(1, column.clamp(min=0)) * (column >= 0)
        to_bos = _total(previous[column == 0]) if self._first == 0 else 0.0
        flat = weights.reshape(-1)
        matched = [
            Sums(*(_total(flat[places]) if len(places) else 0.0 for places in kinds)) for kinds in self._found
        ]
        return [Sums(_total(previous), to_bos), *matched]

    def _places(self, match: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where (n, S) bool is true, as places in the flat matrix: everywhere, first key, own position."""
        S = match.shape[1]
        row, column = match.nonzero(as_tuple=True)
        place = row * S + column
        is_bos = column == 0 if self._first == 0 else torch.zeros_like(column, dtype=torch.bool)
        return place, place[is_bos], place[column == self._own[row, 0]]


def pattern_pairs(ids: Tensor) -> list[Sums]:
    """How many pairs each pattern has in a whole text, in the order of PATTERNS; windows hide none of them.

    Args:
        ids: (T,).
    """
    T = len(ids)
    counts = ids.unique(return_counts=True)[1]
    twice = float((counts * (counts - 1) // 2).sum())  # pairs of positions with the same token
    again, stuttered = float((ids[1:] == ids[:1]).sum()), float((ids[1:] == ids[:-1]).sum())
    return [Sums(T - 1, min(1, T - 1)), Sums(twice, again), Sums(twice, 0.0, stuttered)]


def repeated_random_ids(
    vocab_size: int, length: int, generator: torch.Generator, *, bos: int | None = None
) -> Tensor:
    """The probe for induction: random tokens, and the same again. (2 length,) int64, one more with `bos`.

    No token is drawn twice where the vocabulary has enough of them, so that an earlier copy is the only one.

    Raises:
        UsageError: nothing to repeat.
    """
    if length < 2:
        raise UsageError(f"cannot probe with {length} tokens repeated", hint="repeat 2 or more")
    others = [one for one in range(vocab_size) if one != bos] if vocab_size <= 1 << 16 else None
    if others is not None and len(others) >= length:
        drawn = torch.tensor(others)[torch.randperm(len(others), generator=generator)[:length]]
    else:
        drawn = torch.randint(0, vocab_size, (length,), generator=generator)
    start = torch.tensor([] if bos is None else [bos], dtype=torch.int64)
    return torch.cat((start, drawn, drawn))


def induction_stripe(captured: Captured, length: int, *, dtype: torch.dtype = torch.float32) -> list[float]:
    """How much each head looks at the token after the earlier copy, where a text ends in `length` ids twice.

    The mean over queries i of the second copy of A[i, i - (length - 1)]. The whole diagonal, which is what
    TransformerLens' tutorials take the mean of, has one or two queries more, which have no earlier copy.

    Args:
        captured: a layer of a model that read `repeated_random_ids`.
        length: of what is repeated.

    Raises:
        UsageError: the text is shorter than twice the length.
    """
    if not 2 <= 2 * length <= captured.tokens:
        raise UsageError(
            f"a text of {captured.tokens} tokens does not hold {length} twice", hint="read the probe first"
        )
    queries = torch.arange(captured.tokens - length, captured.tokens, device=captured.q.device)
    frame = frame_of(captured, queries)
    column = (queries - (length - 1) - frame.first)[:, None]
    scores = []
    for head in range(captured.heads):
        rows = rows_of(captured, head, frame, dtype=dtype)
        scores.append(_total(rows.weights.gather(1, column.clamp(min=0)) * (column >= 0)) / length)
    return scores


def _total(values: Tensor) -> float:
    return float(values.sum(dtype=torch.float64))
