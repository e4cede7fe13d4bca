"""The matrices of a model, each as rows of its input's length, whichever way round a family stores them."""

import math
from typing import NamedTuple

from llmkit.estimate.architecture import Architecture, TensorSpec

_READS_HIDDEN = ("q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj", "up_proj", "gate_up_proj")
_WRITES_HIDDEN = ("o_proj", "down_proj")


class Matrices(NamedTuple):
    """Matrices alike: experts, as a rule, or one."""

    copies: int
    rows: int
    """Outputs."""
    columns: int
    """Inputs: the numbers that share scales lie along them."""


def matrices_of(tensor: TensorSpec, architecture: Architecture) -> Matrices:
    """The matrices that a linear tensor holds, its copies included.

    A linear layer's weight is stored as (out, in); GPT-2 and stacks of experts also as (in, out), which shows
    where hidden_size stands.
    """
    *stack, rows, columns = tensor.shape
    copies = math.prod(stack) * tensor.copies
    hidden = architecture.hidden_size
    reads_first = tensor.module in _READS_HIDDEN and columns != hidden and rows == hidden
    writes_last = tensor.module in _WRITES_HIDDEN and columns == hidden and rows != hidden
    if reads_first or writes_last:
        rows, columns = columns, rows
    return Matrices(copies, rows, columns)


def num_experts(architecture: Architecture) -> int:
    """Experts to choose from in a layer that has them; 0 for a model without."""
    routed = [tensor for tensor in architecture.tensors if tensor.part == "experts" and tensor.linear]
    return max((matrices_of(tensor, architecture).copies for tensor in routed), default=0)
