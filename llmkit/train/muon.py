"""Muon: momentum whose matrices are made nearly orthogonal before they are learnt from."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from llmkit.train.parallel.tensors import like, local, part_of, whole

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of one Newton-Schulz step (Keller Jordan, Muon, 2024): steepest at zero, so that small values grow soon."""
NEWTON_SCHULZ_STEPS = 5
RMS = 0.2
"""Of an update's values at a rate of 1: about AdamW's, so that both share one rate (2502.16982, 2.2)."""
_EPS = 1e-7
_STACKED_VALUES = 1 << 24  # of matrices that are orthogonalised at once: more would only take memory

State = dict[nn.Parameter, dict[str, Tensor]]


class Muon:
    """Muon with Nesterov momentum and decoupled weight decay: `torch.optim.Muon("match_rms_adamw")`.

    Matrices of one shape are orthogonalised together; a stack of matrices (experts) is taken one by one.

    Attributes:
        lr: of the next step.
        state: `momentum_buffer` of each matrix that has had a gradient.
    """

    def __init__(
        self,
        matrices: Sequence[nn.Parameter],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        dtype: torch.dtype,
        state: State,
    ) -> None:
        self.matrices = matrices
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.dtype = dtype
        self.state = state

    @torch.no_grad()
    def step(self) -> None:
        """Update every matrix that has a gradient."""
        for matrices in _alike([one for one in self.matrices if one.grad is not None]):
            self._update(matrices)

    def _update(self, matrices: Sequence[nn.Parameter]) -> None:
        """Update matrices of one shape; what that takes is free again before others are."""
        rows, columns = matrices[0].shape[-2:]
        each = [matrix.numel() // (rows * columns) for matrix in matrices]
        updates = orthogonalise(self._stacked(matrices)).split(each)
        for matrix, update in zip(matrices, updates, strict=True):
            own = local(matrix).mul_(1 - self.lr * self.weight_decay)
            scale = RMS * math.sqrt(max(rows, columns))
            own.add_(part_of(update.reshape(matrix.shape), matrix), alpha=-self.lr * scale)

    def _stacked(self, matrices: Sequence[nn.Parameter]) -> Tensor:
        """(N, rows, columns): what they are moved by, in memory of its own."""
        return torch.cat([self._moved(one).view(-1, *one.shape[-2:]) for one in matrices]).to(self.dtype)

    def _moved(self, matrix: nn.Parameter) -> Tensor:
        """The gradient and the momentum that it joins, as Nesterov weighs them: all of the matrix."""
        assert matrix.grad is not None
        if matrix not in self.state:
            self.state[matrix] = {"momentum_buffer": torch.zeros_like(matrix)}
        buffer, gradient = local(self.state[matrix]["momentum_buffer"]), local(matrix.grad)
        buffer.lerp_(gradient, 1 - self.momentum)
        return whole(like(gradient.lerp(buffer, self.momentum), matrix))


def orthogonalise(matrices: Tensor) -> Tensor:
    """Matrices U S V^T as about U V^T, (N, rows, columns): each singular value comes to lie near 1.

    Five steps X <- aX + b(XX^T)X + c(XX^T)^2 X of the odd polynomial of COEFFICIENTS, from a Frobenius norm
    of 1. The values end between 0.7 and 1.2, not at 1: that is faster, and learns as well.
    """
    a, b, c = COEFFICIENTS
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if is_tall else matrices
    del matrices  # of a caller who does not keep them the memory is free from here on
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=_EPS)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


def orthogonalising_bytes(matrices: Iterable[tuple[int, ...]]) -> int:
    """What an update of matrices of these shapes takes beside them, in float32: of the largest stack.

    What is stacked is there twice, before it is orthogonalised or at two steps; so are its products.
    """
    most = 0
    for shape, count in Counter(matrices).items():
        values, least = math.prod(shape), min(shape[-2:])
        products = values // max(shape[-2:]) * least
        most = max(most, min(count, _fitting(shape)) * (values + products))
    return 2 * 4 * most


def _fitting(shape: Sequence[int]) -> int:
    """How many of a shape are a stack."""
    return max(1, _STACKED_VALUES // math.prod(shape))


def _alike(matrices: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Groups of one shape, each small enough to be copied into one stack; a larger matrix is a group."""
    ordered = sorted(matrices, key=lambda one: tuple(one.shape))
    for shape, group in groupby(ordered, key=lambda one: tuple(one.shape)):
        members, count = list(group), _fitting(shape)
        yield from (members[begin : begin + count] for begin in range(0, len(members), count))
