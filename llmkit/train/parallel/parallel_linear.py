"""Matrices of which every process has some columns or rows, and the stream between (1909.08053, 2205.05198).

Their parameters are DTensors, so that checkpoints and optimisers know what is where; products are of plain
parts. What goes into a matrix that is cut by what comes out has all positions; what comes out of one that is
cut by what goes in has those of this process.
Shapes: B rows, T positions, D numbers in, F numbers out, P processes.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, cast

from torch import Tensor, nn
from torch.distributed import ReduceOp
from torch.nn import functional as F

from llmkit.model.dtypes import computed_dtype
from llmkit.model.here import here
from llmkit.model.quantised.float8_linear import Float8Linear, Largest, float8_linear
from llmkit.train.parallel.collectives import all_gather, reduce_scatter, reduced
from llmkit.train.parallel.tensors import cut

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""What F.linear is, of parts."""


class ColumnParallel(nn.Linear):
    """(B, T, D) to the F / P numbers of this process.

    Attributes:
        product: of its part.
    """

    product: Product

    def forward(self, input: Tensor) -> Tensor:
        """The gradient of an input is a summand: who gathered it sums them."""
        return self.product(input, here(self.weight), here(self.bias))


class RowParallel(nn.Linear):
    """(B, T, D / P), the numbers of this process, to (B, T / P, F). A bias is whole on every process.

    Attributes:
        product: of its part.
        group: who has the others.
    """

    product: Product
    group: "ProcessGroup"

    def forward(self, input: Tensor) -> Tensor:
        """A bias learns from the positions here."""
        y = own_positions(self.product(input, here(self.weight), None), self.group)
        return y if self.bias is None else y + self.bias.to(y.dtype)


def cut_outputs(linear: nn.Linear, mesh: "DeviceMesh") -> None:
    """Make it ColumnParallel; every process has the same before.

    Args:
        linear: changed in place.
        mesh: of one dimension, whose size divides F.
    """
    of_all = largest_of(mesh.get_group())
    product = _product_of(linear, Largest(of_weight=of_all, of_gradient=of_all))
    linear.__class__ = ColumnParallel
    linear.weight = cut(linear.weight, mesh)
    linear.bias = None if linear.bias is None else cut(linear.bias, mesh)
    cast(ColumnParallel, linear).product = product


def cut_inputs(linear: nn.Linear, mesh: "DeviceMesh") -> None:
    """Make it RowParallel; every process has the same before.

    Args:
        linear: changed in place.
        mesh: of one dimension, whose size divides D.
    """
    of_all = largest_of(mesh.get_group())
    product = _product_of(linear, Largest(of_input=of_all, of_weight=of_all))
    linear.__class__ = RowParallel
    linear.weight = cut(linear.weight, mesh, 1)
    part = cast(RowParallel, linear)
    part.product, part.group = product, mesh.get_group()


def all_positions(x: Tensor, group: "ProcessGroup") -> Tensor:
    """(B, T / P, W) of each to (B, T, W), whose gradients are summed, each where it came from.

    They travel in the dtype of the products that read them.
    """
    return all_gather(x.to(computed_dtype(x)), group).transpose(0, 1).flatten(1, 2)


def own_positions(summand: Tensor, group: "ProcessGroup") -> Tensor:
    """(B, T, W) to (B, T / P, W), the sum of all at the positions of this process."""
    return reduce_scatter(summand.unflatten(1, (group.size(), -1)).transpose(0, 1), group)


def _product_of(linear: nn.Linear, largest: Largest) -> Product:
    return partial(_in_float8, largest) if isinstance(linear, Float8Linear) else F.linear


def _in_float8(largest: Largest, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return float8_linear(x, [weight], bias, largest=largest)


@cache
def largest_of(group: "ProcessGroup") -> Callable[[Tensor], Tensor]:
    """Makes the largest number of a part that of all: one for all layers, so that they compile as one."""
    return partial(reduced, group=group, op=ReduceOp.MAX)
