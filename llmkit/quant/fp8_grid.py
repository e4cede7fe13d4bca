"""float8 numbers (e4m3), with a step for each row: compressed-tensors' float-quantized."""

from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.formats.bytewise import E4M3, E4M3_BYTES
from llmkit.quant.grid import Fitted, rows_of_groups
from llmkit.quant.int_grids import rounded
from llmkit.quant.lattice import Lattice
from llmkit.quant.search import table_scale

_TRIALS = 15
"""Of a row's step, about either end."""


@dataclass(frozen=True)
class Fp8Grid:
    """The 253 values of float8_e4m3fn in steps of the row's own. A code is the place of a value in order."""

    scale_dtype: torch.dtype = torch.bfloat16
    """What files keep steps in."""
    name: str = "fp8-channel"
    block: int = 1
    bits_per_weight: float = 8.0
    """The steps of rows are as good as nothing."""

    def fit(self, weight: Tensor, importance: Tensor | None = None) -> Fitted:
        """See `Grid.fit`."""
        table = torch.from_numpy(E4M3[E4M3_BYTES])
        columns = weight.shape[1]
        step = table_scale(*rows_of_groups(weight, importance, columns), table, _TRIALS).abs()
        scale = rounded(step, self.scale_dtype, self.name).view(-1, 1)
        return Fitted(Lattice(scale.float(), table, None, columns), {"scale": scale})
