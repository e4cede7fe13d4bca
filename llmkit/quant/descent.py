"""Codes and scales moved one at a time, each to where the outputs lose least while all others stay.

Feedback of errors decides each column knowing nothing of how those after it will be rounded, and within steps
that were fitted before. Here a matrix that is all rounded is gone over again, a block of columns after the
other: a group's scale, minimum, and its superblock's numbers, then each code. What is lost over the text,
`tr(D H Dᵀ)`, falls with every move, so that a few sweeps are worth their while at three and four bits.

Shapes: R rows, C columns, G groups of a row, B blocks of a row, n columns of a block, g of a group.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.quant.feedback import DAMPING, damped, rounded_block
from llmkit.quant.ggml_grids import GgmlGrid
from llmkit.quant.grid import Fitted, Grid
from llmkit.quant.lattice import Lattice
from llmkit.quant.workers import ALONE, Workers, pieces

SWEEPS = 2
_BLOCK = 128
"""Columns whose moves are carried to the rest at once."""
_ROWS = 256
"""That one thread goes over."""


def descended(
    grid: Grid,
    weight: Tensor,
    fitted: Fitted,
    codes: Tensor,
    second_moments: Tensor,
    *,
    workers: Workers = ALONE,
) -> tuple[Fitted, Tensor]:
    """A rounded matrix gone over again.

    Args:
        grid: scales and minima move on those of GGUF's that have superblocks, codes on all.
        weight: (R, C) float32, as it was.
        fitted, codes: what it has become.
        second_moments: as for `feedback_codes`.
        workers: share out the rows.
    """
    moments = damped(second_moments, DAMPING)
    if not moments.diagonal().any():
        return fitted, codes
    numbers = SharedNumbers.of(grid, fitted) if isinstance(grid, GgmlGrid) and grid.scale_high else None

    def some(rows: slice) -> tuple[Tensor, SharedNumbers | None]:
        own = None if numbers is None else numbers.rows(rows)
        part = _Part(weight[rows], codes[rows].clone(), fitted.lattice, rows, moments, own)
        for turn in range(SWEEPS):
            part.sweep(is_last=turn == SWEEPS - 1)
        return part.codes, own

    done = workers.map(some, pieces(len(weight), _ROWS))
    moved = torch.cat([part for part, _ in done])
    if numbers is None or not isinstance(grid, GgmlGrid):
        return fitted, moved
    return SharedNumbers.joined([own for _, own in done if own is not None]).fitted(), moved


@dataclass(frozen=True)
class SharedNumbers:
    """What superblocks and their groups keep, as float32 that moves in place."""

    grid: GgmlGrid
    units: Mapping[str, Tensor]
    """(R, B): d, and dmin where there is one."""
    multiples: Mapping[str, Tensor]
    """(R, G) whole numbers: scales, and mins."""

    @classmethod
    def of(cls, grid: GgmlGrid, fitted: Fitted) -> "SharedNumbers":
        """Of a fitted grid."""
        stored = fitted.stored
        units = {name: stored[name].float() for name in ("d", "dmin") if name in stored}
        multiples = {name: stored[name].float().flatten(1) for name in ("scales", "mins") if name in stored}
        return cls(grid, units, multiples)

    @classmethod
    def joined(cls, parts: list["SharedNumbers"]) -> "SharedNumbers":
        """Of all rows."""
        units = {name: torch.cat([one.units[name] for one in parts]) for name in parts[0].units}
        names = parts[0].multiples
        return cls(
            parts[0].grid, units, {name: torch.cat([one.multiples[name] for one in parts]) for name in names}
        )

    def rows(self, rows: slice) -> "SharedNumbers":
        """A copy of some rows."""
        units = {name: one[rows].clone() for name, one in self.units.items()}
        return SharedNumbers(
            self.grid, units, {name: one[rows].clone() for name, one in self.multiples.items()}
        )

    def fitted(self) -> Fitted:
        """As a file keeps them."""
        per = self.grid.block // self.grid.group
        stored = {name: one.half() for name, one in self.units.items()}
        stored |= {name: one.view(len(one), -1, per) for name, one in self.multiples.items()}
        return Fitted(self.grid.lattice(stored), stored)

    def move(self, block: int, codes: Tensor, slope: Tensor, moments: Tensor) -> Tensor:
        """Move the numbers of one superblock of each row.

        Args:
            block: which.
            codes: (R, n) of its columns.
            slope: (R, n) minus half the derivative of the loss with respect to each value.
            moments: (n, n) theirs.

        Returns:
            (R, n) what was added to the values.
        """
        per, group = self.grid.block // self.grid.group, self.grid.group
        places = torch.tensor(self.grid.table)[codes.int()]
        lines = {"scales": ("d", places), "mins": ("dmin", torch.full_like(places[:1], -1.0))}
        added, slope = torch.zeros_like(slope), slope.clone()
        for index in range(per):
            columns = slice(index * group, (index + 1) * group)
            here, own = moments[columns, columns], slope[:, columns].clone()
            for name, whole in self.multiples.items():
                unit, line = self.units[lines[name][0]][:, block], lines[name][1][:, columns]
                now = whole[:, block * per + index]
                wished = now + _best_move(line, own, here) / torch.where(unit == 0, 1, unit)
                then = wished.round().clamp(self.grid.scale_low, self.grid.scale_high)
                change = torch.where(unit == 0, 0, (then - now) * unit)[:, None] * line
                now.copy_(torch.where(unit == 0, now, then))
                added[:, columns] += change
                own -= change @ here
            slope -= added[:, columns] @ moments[columns]  # of the other groups, once for both numbers
        for name, whole in self.multiples.items():
            unit = self.units[lines[name][0]][:, block]
            line = whole[:, block * per : (block + 1) * per].repeat_interleave(group, 1) * lines[name][1]
            move = _best_move(line, slope, moments)
            then = (unit + move).half().float()
            by = torch.where(then.isfinite() & ((then - unit - move).abs() < move.abs()), then - unit, 0)
            unit += by
            added += by[:, None] * line
            slope -= (by[:, None] * line) @ moments
        return added


def _best_move(line: Tensor, slope: Tensor, moments: Tensor) -> Tensor:
    """How far along a line, (R, n) or (1, n), least is lost: (R,); 0 where nothing depends on it."""
    along, bend = (line * slope).sum(1), ((line @ moments) * line).sum(1)
    return torch.where(bend > 0, along / torch.where(bend > 0, bend, 1), 0)


class _Part:
    """Some rows on their way."""

    def __init__(
        self,
        weight: Tensor,
        codes: Tensor,
        lattice: Lattice,
        rows: slice,
        moments: Tensor,
        numbers: SharedNumbers | None,
    ) -> None:
        self.codes = codes
        base = None if lattice.base is None else lattice.base[rows]
        self._lattice = Lattice(lattice.step[rows], lattice.table, base, lattice.group)
        self._weight, self._moments, self._numbers = weight, moments, numbers
        self._left = weight - self._lattice.values(codes)
        self._slope = self._left @ moments  # falls as `left` does: half of what is lost, differentiated

    def sweep(self, *, is_last: bool) -> None:
        """Go over all columns once. is_last: nobody looks at those gone over again."""
        width = _BLOCK if self._numbers is None else self._numbers.grid.block
        for begin in range(0, self._weight.shape[1], width):
            columns = slice(begin, min(begin + width, self._weight.shape[1]))
            self._block(columns, slice(columns.stop if is_last else 0, None))

    def _block(self, columns: slice, ahead: slice) -> None:
        moments = self._moments[columns, columns]
        before, slope = self._left[:, columns].clone(), self._slope[:, columns].clone()
        left = self._left[:, columns]
        if self._numbers is not None:
            block = columns.start // self._numbers.grid.block
            added = self._numbers.move(block, self.codes[:, columns], slope, moments)
            self._lattice = self._numbers.fitted().lattice
            left -= added
            slope -= added @ moments
        for begin in range(0, columns.stop - columns.start, _BLOCK):
            here = slice(begin, min(begin + _BLOCK, columns.stop - columns.start))
            change = self._round(columns.start, here, left, slope, moments[here, here])
            slope += change @ moments[here]
        self._slope[:, ahead] += (left - before) @ self._moments[columns, ahead]

    def _round(self, first: int, here: slice, left: Tensor, slope: Tensor, moments: Tensor) -> Tensor:
        """Choose the codes of some columns anew, one after the other; how what is left has changed."""
        begin, end = first + here.start, first + here.stop
        bend = moments.diagonal()
        old, weight = left[:, here].clone(), self._weight[:, begin:end]
        wanted = weight + (slope[:, here] - old @ moments.triu()) / bend
        factor = -(moments / bend).triu(1)
        factor.diagonal().fill_(1)
        new = rounded_block(
            wanted, factor, torch.arange(begin, end), self._lattice, self.codes, original=weight
        )
        left[:, here] = new
        return new - old
