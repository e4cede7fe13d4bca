"""Our encoders of ggml's types beside ggml's own, on one thread each: python tests/bench/encoders.py

Weights are Gaussian. For each type both encode the same rows in turns, round after round, so that a busy
machine slows both alike; ours is all of it: search, rounding, and the file's bytes. Printed: million weights
a second of processor time (medians) and decibels of signal over noise, read back by one reader. Each type is
encoded twice: with all weights counted alike, where ggml's plain types round and do not search, and with an
importance matrix (columns count by the fourth power of a number), where they search too and noise is weighed
by it; Q8_0 takes no notice of one in ggml. ggml is called in the library that the package xllamacpp brings.
"""

import argparse
import ctypes
import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from time import process_time

import gguf
import numpy as np
import torch
from numpy.typing import NDArray

from llmkit.formats.gguf.blocks import dequantise
from llmkit.formats.gguf.types import GGML_TYPES
from llmkit.kernels.library import level, set_threads
from llmkit.quant.ggml_bytes import ggml_bytes
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.rounding import nearest

Bytes = NDArray[np.uint8]
Encode = Callable[[], Bytes]


@dataclass(frozen=True)
class Row:
    """One type."""

    name: str
    imatrix: bool
    ours_million_per_second: float
    ggml_million_per_second: float
    ours_decibels: float
    ggml_decibels: float


def ggml_library() -> ctypes.CDLL:
    """The shared library of xllamacpp, with the encoder's signature."""
    spec = find_spec("xllamacpp")
    assert spec is not None and spec.origin is not None, "pip install xllamacpp"
    library = ctypes.CDLL(str(next(Path(spec.origin).parent.glob("*.so"))))
    at, count = ctypes.c_void_p, ctypes.c_int64
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, at, at, count, count, count, at]
    return library


def ggml(library: ctypes.CDLL, name: str, weight: torch.Tensor, importance: torch.Tensor | None) -> Encode:
    """ggml's encoder on these rows."""
    rows, columns = weight.shape
    number = int(gguf.GGMLQuantizationType[name])
    to = np.empty(GGML_TYPES[name].row_nbytes(columns) * rows, np.uint8)
    counts = None if importance is None else importance.data_ptr()

    def encode() -> Bytes:
        library.ggml_quantize_chunk(number, weight.data_ptr(), to.ctypes.data, 0, rows, columns, counts)
        return to

    return encode


def ours(name: str, weight: torch.Tensor, importance: torch.Tensor | None) -> Encode:
    """Our encoder on these rows."""

    def encode() -> Bytes:
        fitted, codes = nearest(GGML_GRIDS[name], weight, importance)
        return ggml_bytes(name, fitted.stored, codes).reshape(-1)

    return encode


def decibels(raw: Bytes, name: str, weight: torch.Tensor, importance: torch.Tensor | None) -> float:
    """Signal over noise, both weighed by importance."""
    values = torch.from_numpy(dequantise(raw, name, weight.shape)).double()
    counts = 1.0 if importance is None else importance.double()
    whole = (counts * weight.double() ** 2).sum()
    return float(10 * torch.log10(whole / (counts * (values - weight) ** 2).sum()))


def compared(encoders: tuple[Encode, Encode], rounds: int, weights: int) -> list[float]:
    """Million weights a second of each: medians over rounds in turns."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for encode, taken in zip(encoders, seconds, strict=True):
            start = process_time()
            encode()
            taken.append(process_time() - start)
    return [weights / statistics.median(taken) / 1e6 for taken in seconds]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="types; all that both write")
    parser.add_argument("--rows", type=int, default=4096, help="a processor takes a millisecond to speed up")
    parser.add_argument("--columns", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="one row a line, to compare by program")
    options = parser.parse_args()
    torch.set_num_threads(1)
    set_threads(1)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(options.rows, options.columns, generator=generator)
    importance = torch.rand(options.columns, generator=generator) ** 4
    library = ggml_library()
    if not options.json:
        print(f"{options.rows} x {options.columns}, {level()}, one thread, M weights/s and dB")
        print(f"{'type':8}{'imatrix':>8}{'ours':>8}{'ggml':>8}{'times':>8}{'ours':>9}{'ggml':>8}")
    for name, counts in product(options.names or GGML_GRIDS, (None, importance)):
        encoders = ours(name, weight, counts), ggml(library, name, weight, counts)
        raws = [encode() for encode in encoders]
        quality = [decibels(raw, name, weight, counts) for raw in raws]
        speeds = compared(encoders, options.rounds, weight.numel())
        row = Row(name, counts is not None, *speeds, *quality)
        if options.json:
            print(json.dumps(asdict(row)), flush=True)
            continue
        fast, slow = speeds
        print(
            f"{name:8}{'no' if counts is None else 'yes':>8}{fast:8.1f}{slow:8.1f}{fast / slow:8.2f}"
            f"{quality[0]:9.2f}{quality[1]:8.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
