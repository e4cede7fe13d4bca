"""An embedding table, looked at: which tokens lie close to one, how long rows are, which were never trained.

A model fed with a token that training never touched says anything at all (Land and Bartolo 2024,
arXiv:2405.05417). Five signs of one, in the order in which they are told:

no token          the tokenizer has none of this id
zero              the row is zero
same as another   number for number
unreachable       the row points where those of tokens point that no text can contain
short             the row is less than a quarter as long as the median: weight decay alone was at work

The fourth needs such tokens: ids without a token, and the thirteen bytes that UTF-8 never uses, which
byte-level and byte-fallback vocabularies have all the same. Where the head is the embedding, training pushes
all rows that are never the answer the same way, so that they end up side by side.

Shapes: V vocab_size, D hidden_size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from llmkit.errors import DataError

Sign = Literal["no token", "zero", "same as another", "unreachable", "short"]
NEVER_IN_TEXT = frozenset((0xC0, 0xC1, *range(0xF5, 0x100)))
"""Bytes that no UTF-8 text contains (RFC 3629)."""
ALIKE = 0.9
"""Cosine to the mean of unreachable rows from which a row counts as one, the table's mean taken off all."""
SHORT = 0.25
"""Of the median length."""
_FEW = 3
"""Fewer unreachable rows say nothing."""
_ROWS = 1 << 14
"""Rows at a time: 256 MiB of float32 at 4096 numbers a row."""


@dataclass(frozen=True)
class Neighbour:
    """A row close to another."""

    id: int
    cosine: float
    length: float


@dataclass(frozen=True)
class Unused:
    """A row that looks as if it was never trained."""

    id: int
    sign: Sign
    length: float


def row_lengths(table: Tensor) -> Tensor:
    """(V,) float32, the Euclidean length of each row of a table (V, D).

    Raises:
        DataError: a number is not finite.
    """
    lengths = torch.cat([rows.float().norm(dim=1) for rows in table.split(_ROWS)])
    if not lengths.isfinite().all():
        first = int((~lengths.isfinite()).nonzero()[0])
        raise DataError(
            f"the embedding of token {first} is not finite", hint="llmkit doctor MODEL names the tensors"
        )
    return lengths


def nearest(table: Tensor, lengths: Tensor, token: int, count: int) -> list[Neighbour]:
    """The rows at the smallest angle to a token's, the closest first; the token itself is left out.

    Args:
        table: (V, D).
        lengths: (V,), of its rows.
        token: an id below V.
        count: how many at most; rows of no length have no angle.

    Raises:
        DataError: the token's own row is zero.
    """
    if lengths[token] == 0:
        raise DataError(
            f"the embedding of token {token} is zero: nothing is near it", hint="name another one"
        )
    own = table[token].float() / lengths[token]
    cosines = torch.cat([rows.float() @ own for rows in table.split(_ROWS)]) / lengths  # 0 / 0 is no number
    cosines[token] = -torch.inf
    cosines = cosines.nan_to_num(nan=-torch.inf)
    found = cosines.topk(min(count, len(cosines)))
    return [
        Neighbour(int(place), float(cosine), float(lengths[place]))
        for cosine, place in zip(found.values, found.indices, strict=True)
        if cosine.isfinite() and place != token
    ]


def unused_rows(
    table: Tensor,
    lengths: Tensor,
    *,
    has_token: Callable[[int], bool] | None = None,
    unreachable: Sequence[int] = (),
) -> list[Unused]:
    """Rows that look as if they were never trained, in the order of ids.

    Args:
        table: (V, D).
        lengths: (V,), of its rows.
        has_token: whether the tokenizer has a token of an id; None where there is no tokenizer.
        unreachable: ids that no text can contain.
    """
    bottom = SHORT * float(lengths.median())
    twins, alike = _twins(table, lengths), _alike(table, unreachable)
    found = []
    for token, length in enumerate(lengths.tolist()):
        sign: Sign | None = None
        if has_token is not None and not has_token(token):
            sign = "no token"
        elif length == 0:
            sign = "zero"
        elif token in twins:
            sign = "same as another"
        elif token in alike:
            sign = "unreachable"
        elif length < bottom:
            sign = "short"
        if sign is not None:
            found.append(Unused(token, sign, length))
    return found


def _alike(table: Tensor, unreachable: Sequence[int]) -> set[int]:
    """Ids whose rows point where the unreachable ones' do; none where those do not point the same way."""
    if len(unreachable) < _FEW:
        return set()
    mean = torch.stack([rows.float().sum(0) for rows in table.split(_ROWS)]).sum(0) / len(table)
    known = F.normalize(table[list(unreachable)].float() - mean, dim=1)
    others = F.normalize(known.sum(0) - known, dim=1)  # each against all but itself
    if float((known * others).sum(1).median()) < ALIKE:
        return set()
    way = F.normalize(known.sum(0), dim=0)
    cosines = torch.cat([F.normalize(rows.float() - mean, dim=1) @ way for rows in table.split(_ROWS)])
    return set((cosines >= ALIKE).nonzero()[:, 0].tolist())


def _twins(table: Tensor, lengths: Tensor) -> set[int]:
    """Ids whose row is another's too; only rows of one length can be."""
    order = lengths.argsort()
    ordered = lengths[order]
    equal = (ordered[1:] == ordered[:-1]).nonzero()[:, 0].tolist()
    groups: dict[bytes, list[int]] = {}
    for place in {index for one in equal for index in (one, one + 1)}:
        token = int(order[place])
        content = table[token].float().numpy().tobytes()
        groups.setdefault(content, []).append(token)
    return {token for group in groups.values() if len(group) > 1 for token in group}
