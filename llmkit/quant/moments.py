"""What goes into every matrix of a layer: the sum of `x xᵀ` over its inputs, of all that a pass multiplies.

Shapes: N inputs, C columns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from llmkit.quant.workers import ALONE, Workers, pieces


@dataclass
class Moments:
    """Of the inputs of one matrix."""

    second: Tensor
    """(C, C) float32, the sum of `x xᵀ`; or (C,), its diagonal, where no more is known."""
    absolute: Tensor
    """(C,) float32, the sum of `|x|`."""
    count: int = 0
    """Inputs seen."""
    missing: Tensor | None = None
    """(C, C) float32, the sum of `(y - x) xᵀ`, y the inputs that the original model has in the place of x."""

    @classmethod
    def of_width(cls, columns: int, *, squares_only: bool = False) -> "Moments":
        """Nothing seen yet."""
        second = torch.zeros(columns) if squares_only else torch.zeros(columns, columns)
        return cls(second, torch.zeros(columns))

    @classmethod
    def of_squares(cls, squares: Tensor, count: int) -> "Moments":
        """From the sum of `x²`, (C,), alone: magnitudes are taken to be as the roots of the means."""
        return cls(squares, (squares * count).sqrt(), count)

    @property
    def squares(self) -> Tensor:
        """(C,) the sum of `x²`."""
        return self.second.diagonal() if self.second.dim() == 2 else self.second

    def divided(self, scale: Tensor) -> "Moments":
        """Of the same inputs divided by numbers above 0, (C,)."""
        by = scale[:, None] * scale if self.second.dim() == 2 else scale.square()
        missing = None if self.missing is None else self.missing / by
        return Moments(self.second / by, self.absolute / scale, self.count, missing)

    def ordered(self, order: Tensor) -> "Moments":
        """Of the same inputs with their numbers in another order, (C,) of each place which comes there."""
        second, missing = (
            one if one is None else one[order][:, order] if one.dim() == 2 else one[order]
            for one in (self.second, self.missing)
        )
        assert second is not None
        return Moments(second, self.absolute[order], self.count, missing)

    def add(self, inputs: Tensor, workers: Workers = ALONE, original: Tensor | None = None) -> None:
        """inputs: (N, C); original: the same of the original model, where it is at work too."""
        rows = inputs.float()
        less = None if original is None else original.float() - rows
        if less is not None and self.missing is None:
            self.missing = torch.zeros_like(self.second)

        def columns(part: slice) -> None:
            self.second[:, part].addmm_(rows.T, rows[:, part])
            if less is not None and self.missing is not None:
                self.missing[:, part].addmm_(less.T, rows[:, part])

        if self.second.dim() == 1:
            self.second += rows.square().sum(0)
        else:
            workers.map(columns, pieces(rows.shape[1]))
        self.absolute += rows.abs().sum(0)
        self.count += len(rows)


def single_matrices(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices (R, C) as they are; of a stack (E, R, C) each under `name[e]`."""
    return {
        f"{name}[{index}]" if weight.dim() == 3 else name: part
        for name, weight in weights.items()
        for index, part in enumerate(weight.unbind() if weight.dim() == 3 else (weight,))
    }


class InputsOfPass(TorchFunctionMode):
    """Inside `with`, keeps the inputs of every product with one of some weights, in this thread.

    An expert sees the inputs that were routed to it.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """
        Args:
            weights: matrices (R, C), or stacks (E, R, C), by name. A stack's inputs are under `name[e]`.
        """
        super().__init__()
        self.inputs: dict[str, Tensor] = {}
        """(N, C) by name; weights that were multiplied with one tensor have one and the same."""
        self._names: dict[tuple[int, tuple[int, ...]], str] = {}
        for name, matrix in single_matrices(weights).items():
            self._names[matrix.data_ptr(), tuple(matrix.shape)] = name
        self._last: tuple[Tensor, Tensor] | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Look at products; compute everything as it would be."""
        if func is F.linear:
            self._see(args[1], args[0])
        elif func is torch.ops.llmkit.grouped_linear:
            rows, stack, _, counts = args
            for matrix, own in zip(stack, rows.split(counts.tolist()), strict=True):
                if len(own):
                    self._see(matrix, own)
        return func(*args, **(kwargs or {}))

    def _see(self, matrix: Tensor, inputs: Tensor) -> None:
        name = self._names.get((matrix.data_ptr(), tuple(matrix.shape)))
        if name is not None:
            self._keep(name, inputs)

    def _keep(self, name: str, inputs: Tensor) -> None:
        if self._last is None or self._last[0] is not inputs:
            self._last = inputs, inputs.detach().reshape(-1, inputs.shape[-1])
        rows = self._last[1]
        self.inputs[name] = torch.cat((self.inputs[name], rows)) if name in self.inputs else rows


def add_inputs(
    found: dict[str, Moments],
    seen: Sequence[InputsOfPass],
    workers: Workers = ALONE,
    *,
    originals: Sequence[InputsOfPass] = (),
    squares_only: bool = False,
) -> None:
    """Add the inputs of several passes to moments, by name; `originals`: of the same passes of the original.

    Experts are sent other inputs by another model: theirs are not compared.

    Weights with one and the same inputs (queries, keys and values; gate and up) share their moments, which
    are then worked out once.
    """
    done: dict[int, Moments] = {}
    for name in dict.fromkeys(name for one in seen for name in one.inputs):
        rows = [one.inputs[name] for one in seen if name in one.inputs]
        key = id(rows[0])
        if key in done:
            found.setdefault(name, done[key])
            continue
        done[key] = found.setdefault(name, Moments.of_width(rows[0].shape[1], squares_only=squares_only))
        others = [one.inputs[name] for one in originals if name in one.inputs and "[" not in name]
        alike = [one.shape for one in others] == [one.shape for one in rows]
        done[key].add(torch.cat(rows), workers, torch.cat(others) if others and alike else None)
