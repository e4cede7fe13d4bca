"""The processes that hold the parts of one model, and what they add up in the middle of a pass.

Shapes: T new positions, D hidden_size, R scored rows, V vocab_size, P processes.
"""

from typing import Protocol

from torch import Tensor, nn

from llmkit.model.part import Part
from llmkit.model.tied_head import TiedHead
from llmkit.model.transformer import Transformer


class Ranks(Protocol):
    """What a process does together with the others: all call the same, in the same order."""

    part: Part
    """Which of the model this process has."""

    def sum(self, branch: Tensor) -> Tensor:
        """What all have, added up: (..., D), in place."""

    def gathered(self, scores: Tensor, total: int) -> Tensor:
        """Scores of the whole vocabulary, (R, V), on the first process; what others get, nobody reads.

        Args:
            scores: of this process's rows, (R, about V / P).
            total: V.
        """


class PartHead(nn.Linear):
    """The rows of the head that a process has."""

    def __init__(self, head: nn.Module, ranks: Ranks) -> None:
        """
        Args:
            head: whole; its rows are copied, but where they are the embedding's.
            ranks: of the model.
        """
        weight, bias = head.weight, head.bias
        assert isinstance(weight, Tensor) and (bias is None or isinstance(bias, Tensor))
        rows = ranks.part.rows(len(weight))
        super().__init__(weight.shape[1], len(rows), bias=bias is not None, device="meta")
        own = slice(rows.start, rows.stop)
        cut = weight.detach()[own]
        self.weight = nn.Parameter(cut if isinstance(head, TiedHead) else cut.clone(), requires_grad=False)
        if bias is not None:
            self.bias = nn.Parameter(bias.detach()[own], requires_grad=False)
        self.ranks, self._total = ranks, len(weight)

    def forward(self, x: Tensor) -> Tensor:
        """x: (R, D). Returns scores as `Ranks.gathered`."""
        return self.ranks.gathered(super().forward(x), self._total)


def join_parts(model: Transformer, ranks: Ranks) -> None:
    """Have the branches of a part summed over all processes, and its head score its rows alone.

    Args:
        model: what `load_model` gave for a part; changed in place.
        ranks: the processes.
    """
    for block in model.model.layers:
        for branch in (block.self_attn, block.mlp):
            branch.register_forward_hook(lambda _module, _inputs, given: ranks.sum(given))  # type: ignore[union-attr]
    model.lm_head = PartHead(model.lm_head, ranks)


def ranks_of(model: Transformer) -> Ranks | None:
    """The processes that have the other parts of a model; None: it is whole."""
    return model.lm_head.ranks if isinstance(model.lm_head, PartHead) else None
