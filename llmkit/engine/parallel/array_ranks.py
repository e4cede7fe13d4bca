"""The processes of a model in parts, for who computes on arrays.

Shapes: R scored rows, V vocab_size, P processes.
"""

import torch

from llmkit.engine.parallel.ranks import Ranks
from llmkit.kernels.memory import Floats


class ArrayRanks:
    """See `Ranks`."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def sum(self, branch: Floats) -> None:
        """What all have, added up in place."""
        self._ranks.sum(torch.from_numpy(branch))

    def gathered(self, scores: Floats, total: int) -> Floats:
        """Scores of the whole vocabulary, (R, V), from those of this process's rows, (R, about V / P)."""
        gathered: Floats = self._ranks.gathered(torch.from_numpy(scores), total).numpy()
        return gathered
