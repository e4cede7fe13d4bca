"""The compressed cache of latent attention: one row a token, of which all heads make keys and values.

Shapes: B batch, T new positions, S all positions so far, W kv_lora_rank + qk_rope_head_dim.
"""

from torch import Tensor

from llmkit.model.held import Held


class LatentCache(Held):
    """One layer's rows (2405.04434), (B, capacity, W), of which `length` positions are filled.

    A row is the token's latent after its norm, then the rotated numbers of its key that all heads share.
    """

    def __init__(self, rows: Tensor) -> None:
        super().__init__(rows)
        self.rows = rows

    def append(self, rows: Tensor) -> Tensor:
        """All rows, (B, S, W), with T new ones stored after those held: see `Held.store`."""
        (rows,) = self.store((rows,))
        return rows
