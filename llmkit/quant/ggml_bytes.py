"""Matrices on ggml's grids as the bytes that GGUF files hold."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from llmkit.formats.gguf import k_quants_write as ggml_k_write
from llmkit.formats.gguf import simple_write as ggml_simple_write
from llmkit.formats.gguf.simple_write import Codes, Fields, Stored
from llmkit.formats.gguf.types import GGML_TYPES
from llmkit.kernels.encode import block_bytes
from llmkit.kernels.library import available
from llmkit.quant.ggml_grids import GGML_GRIDS

_WRITERS: dict[str, Callable[[Fields, Codes], Stored]] = {
    **{"Q4_0": ggml_simple_write.write_q4_0, "Q4_1": ggml_simple_write.write_q4_1},
    **{"Q5_0": ggml_simple_write.write_q5_0, "Q5_1": ggml_simple_write.write_q5_1},
    **{"Q8_0": ggml_simple_write.write_q8_0, "IQ4_NL": ggml_simple_write.write_iq4_nl},
    **{"Q2_K": ggml_k_write.write_q2_k, "Q3_K": ggml_k_write.write_q3_k},
    **{"Q4_K": ggml_k_write.write_q4_k, "Q5_K": ggml_k_write.write_q5_k},
    **{"Q6_K": ggml_k_write.write_q6_k, "IQ4_XS": ggml_k_write.write_iq4_xs},
}
_PLAIN_BITS = {"Q4_0": 4, "Q4_1": 4, "IQ4_NL": 4, "Q5_0": 5, "Q5_1": 5, "Q8_0": 8}
"""Of codes that the native library writes."""
_STEP = 1 << 16
"""Codes at a time: what is in the making stays in the cache."""


def ggml_bytes(grid_name: str, stored: Mapping[str, Tensor], codes: Tensor) -> NDArray[np.uint8]:
    """What a file holds of a matrix; readers compute `Lattice.values(codes)` from it, bit for bit.

    Args:
        grid_name: of a grid of GGML_GRIDS.
        stored: `Fitted.stored`.
        codes: (R, C) uint8.

    Returns:
        (R, bytes of a row).

    Raises:
        ValueError: a row is no whole number of blocks, a code is beyond the grid's, or `stored` is another
            grid's.
    """
    kind, grid = GGML_TYPES[grid_name], GGML_GRIDS[grid_name]
    rows, columns = codes.shape
    if columns % kind.values:
        raise ValueError(f"a row of {columns} is no whole number of blocks of {grid_name}")
    if codes.numel() and int(codes.max()) >= len(grid.table):
        raise ValueError(f"a code of {int(codes.max())} in {grid_name}, which has {len(grid.table)}")
    blocks = codes.contiguous().numpy().reshape(-1, kind.values)
    fields = {name: _of_blocks(values, len(blocks)) for name, values in stored.items()}
    for name in {"scales", "mins"} & set(fields):
        _check_range(name, fields[name], grid_name)
    if grid_name in _PLAIN_BITS and available():
        return block_bytes(blocks, fields["d"], fields.get("m"), _PLAIN_BITS[grid_name]).reshape(rows, -1)
    written = np.empty((len(blocks), kind.nbytes), np.uint8)
    step = max(1, _STEP // kind.values)
    for begin in range(0, len(blocks), step):
        part = slice(begin, begin + step)
        of_part = {name: values[part] for name, values in fields.items()}
        written[part] = _WRITERS[grid_name](of_part, blocks[part]).view(np.uint8).reshape(-1, kind.nbytes)
    return written.reshape(rows, -1)


def _of_blocks(values: Tensor, blocks: int) -> NDArray[Any]:
    """One number of each block, (N,), or one of each of its groups, (N, groups)."""
    array = values.contiguous().numpy().reshape(blocks, -1)
    return array[:, 0] if array.shape[1] == 1 else array


def _check_range(name: str, whole: NDArray[Any], grid_name: str) -> None:
    grid = GGML_GRIDS[grid_name]
    if whole.size and not grid.scale_low <= int(whole.min()) <= int(whole.max()) <= grid.scale_high:
        raise ValueError(f"{name} from {int(whole.min())} to {int(whole.max())} in {grid_name}")
