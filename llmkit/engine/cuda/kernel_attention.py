"""Attention over pages by kernels of our own: nothing is copied, for every rule, page size and torch.

Shapes: N texts, T new positions of all, H query heads, K key/value heads, E head_dim.
"""

import torch
from torch import Tensor

from llmkit.engine.cuda.attention import AttentionRules, BatchAttention, Rotation
from llmkit.engine.cuda.batch import PagedBatch, upload

_TILE = 64
"""Positions that a step of a kernel looks at."""
_PROMPT_ROWS = 64
"""Queries, times the heads of a group, that share the keys a kernel reads, where a text has several."""
_DECODING_ROWS = 16
"""The same, where texts have one: the least that a matrix unit takes."""
_PART = 256
"""Least positions of a part, where a text is read in parts side by side."""
_PROGRAMS = 264
"""As many as keep a large GPU busy: two for each of 132 multiprocessors."""


class KernelAttention:
    """Kernels over whole batches. See `PagedAttention`."""

    def over(self, batch: PagedBatch) -> BatchAttention:
        """See `PagedAttention`."""
        return _Kernels(batch)


class _Kernels:
    def __init__(self, batch: PagedBatch) -> None:
        from llmkit.engine.cuda import page_kernels  # imports Triton

        self._kernels = page_kernels
        self._batch = batch
        self._tiles: dict[int, tuple[Tensor, Tensor]] = {}

    def keep(
        self, q: Tensor, k: Tensor, v: Tensor, rotation: Rotation | None, keys: Tensor, values: Tensor
    ) -> Tensor:
        T, H, E = q.shape
        rotated = torch.empty((T, H, E), dtype=q.dtype, device=q.device)
        cos, sin = (q, q) if rotation is None else (rotation.cos, rotation.sin)
        self._kernels.rotate_into_pages[T, H + k.shape[1]](
            *(rotated, keys, values, q, k, v, cos.contiguous(), sin.contiguous(), self._batch.places),
            *(q.stride(0), q.stride(1), k.stride(0), k.stride(1), v.stride(0), v.stride(1)),
            *(keys.stride(0), keys.stride(1), H),
            E=E,
            WIDTH=_power_of_two(E),
            R=0 if rotation is None else 2 * cos.shape[1],
            INTERLEAVED=rotation is not None and rotation.interleaved,
            num_warps=1,
        )
        return rotated

    def __call__(self, q: Tensor, keys: Tensor, values: Tensor, rules: AttentionRules) -> Tensor:
        batch, (T, H, E), K = self._batch, q.shape, keys.shape[1]
        group = H // K
        rows = max(_DECODING_ROWS if batch.longest == 1 else _PROMPT_ROWS, _power_of_two(group))
        tile_text, tile_first = self._tiles_of(rows // group)
        parts = _parts(len(tile_text) * K, batch.capacity)
        out = torch.empty((T, H, E), dtype=q.dtype, device=q.device)
        partial, spread = out, out
        if parts > 1:
            partial = torch.empty((T * H * parts, E), dtype=torch.float32, device=q.device)
            spread = torch.empty((T * H * parts, 2), dtype=torch.float32, device=q.device)
        sinks = q if rules.sinks is None else rules.sinks
        shape = {"E": E, "WIDTH": max(16, _power_of_two(E)), "SPLITS": parts}
        self._kernels.attend_pages[len(tile_text), K, parts](
            *(out, partial, spread, q, keys, values, batch.table, batch.starts, batch.lengths),
            *(tile_text, tile_first, sinks, rules.scale, rules.softcap or 0.0, rules.window or 0),
            *(q.stride(0), q.stride(1), keys.stride(0), keys.stride(1), batch.table.stride(0), H),
            **shape,
            GROUP=group,
            BLOCK_TOKENS=batch.block_tokens,
            ROWS=rows,
            TILE=_TILE,
            HAS_CAP=rules.softcap is not None,
            HAS_WINDOW=rules.window is not None,
            HAS_SINKS=rules.sinks is not None,
            PRECISION="ieee" if q.dtype == torch.float32 else "tf32",
            num_warps=4,
        )
        if parts > 1:
            self._kernels.join_parts[(T * H,)](
                out, partial, spread, sinks, H, **shape, HAS_SINKS=rules.sinks is not None, num_warps=1
            )
        return out

    def _tiles_of(self, queries: int) -> tuple[Tensor, Tensor]:
        """The text of each tile, and the first of its queries among those of the text.

        Args:
            queries: positions of a tile.
        """
        if queries not in self._tiles:
            texts, device = len(self._batch.lengths), self._batch.lengths.device
            if self._batch.longest == 1:  # made on the device alone, so that a graph can have it recorded
                text = torch.arange(texts, dtype=torch.int64, device=device)
                self._tiles[queries] = text, torch.zeros_like(text)
            else:
                single = texts - len(self._batch.several)
                tiles = [(text, 0) for text in range(single)] + [
                    (single + number, first)
                    for number, span in enumerate(self._batch.several)
                    for first in range(0, span.count, queries)
                ]
                text, first = upload([list(column) for column in zip(*tiles, strict=True)], device)
                self._tiles[queries] = text, first
        return self._tiles[queries]


def _parts(programs: int, capacity: int) -> int:
    """Parts that each text is read in, a power of two: as many as keep the GPU busy, none too short."""
    wanted = min(-(-_PROGRAMS // programs), capacity // _PART, 64)
    return 1 << max(1, wanted).bit_length() - 1


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
