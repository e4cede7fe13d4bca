"""A layer's memory of positions already seen, in one piece, filled from the front.

Shapes: S positions so far, T new ones; both are the last dimension but one.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor

from llmkit.errors import UsageError
from llmkit.model.layout import Layout


class Held:
    """Tensors reserved once, of which `length` positions are filled.

    Keys and values are (B, K, capacity, E) each. Latent attention (2405.04434) has one, (B, capacity, W): a
    row is the token's latent after its norm, then the rotated numbers of its key that all heads share.
    """

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors
        self.length = 0

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def extend(
        self, new: Sequence[Tensor], layout: Layout
    ) -> Iterator[tuple[slice, list[Tensor], Tensor | None]]:
        """See `HeldLayer` (cache.py): the texts of a batch are given back together."""
        whole = zip(self.store(new), new, strict=True)
        yield slice(None), [tensor.to(fresh.dtype) for tensor, fresh in whole], layout.mask

    def store(self, new: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Keep T new positions after those held.

        Args:
            new: (..., T, width) for each tensor.

        Returns:
            All positions of each, (..., S, width), in the cache's dtype.

        Raises:
            UsageError: the cache is full.
        """
        end, capacity = self.length + new[0].shape[-2], self.tensors[0].shape[-2]
        if end > capacity:
            raise UsageError(
                f"the cache holds {capacity} positions and {end} are needed",
                hint="reserve a larger capacity, or generate fewer tokens",
            )
        for tensor, fresh in zip(self.tensors, new, strict=True):
            tensor[..., self.length : end, :] = fresh
        return tuple(tensor[..., :end, :] for tensor in self.tensors)
