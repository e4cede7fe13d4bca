"""The compressed cache of latent attention: one row a token, of which all heads make keys and values.

Shapes: B batch, T new positions, S all positions so far, W kv_lora_rank + qk_rope_head_dim.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor

from llmkit.errors import UsageError
from llmkit.model.layout import Layout


class LatentCache:
    """One layer's rows (2405.04434), (B, capacity, W), of which `length` positions are filled.

    A row is the token's latent after its norm, then the rotated numbers of its key that all heads share.
    """

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.length = 0

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self.rows.nbytes

    def extend(
        self, new: Sequence[Tensor], layout: Layout
    ) -> Iterator[tuple[slice, list[Tensor], Tensor | None]]:
        """See `HeldLayer`: the texts of a batch are given back together."""
        (rows,) = new
        yield slice(None), [self.append(rows).to(rows.dtype)], layout.mask

    def append(self, rows: Tensor) -> Tensor:
        """Store T new positions after those held.

        Args:
            rows: (B, T, W).

        Returns:
            All rows, (B, S, W), in the cache's dtype.

        Raises:
            UsageError: the cache is full.
        """
        end = self.length + rows.shape[1]
        if end > self.rows.shape[1]:
            raise UsageError(
                f"the cache holds {self.rows.shape[1]} positions and {end} are needed",
                hint="reserve a larger capacity, or generate fewer tokens",
            )
        self.rows[:, self.length : end] = rows
        return self.rows[:, :end]
