"""Quality at equal size beside llama.cpp's own encoder: one model, one calibration text, one scored text.

    python tests/bench/quantise_peers.py MODEL… --calibration train.txt --score valid.txt

For each file type the same tensors get the same types from both. llama.cpp's rows are `ggml_quantize_chunk`
of the xllamacpp wheel, called with the mean squares of the same calibration tokens as its importance matrix;
ours are what `llmkit quantize` does. Both go through our float32 transformer: only the weights differ.
"""

import argparse
import ctypes
import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmkit.formats.gguf.blocks import dequantise
from llmkit.formats.gguf.types import GGML_TYPES
from llmkit.formats.provenance import Invocation
from llmkit.progress import SILENT
from llmkit.quant.divergence import QualityReport
from llmkit.quant.grid import Fitted, Grid
from llmkit.quant.lattice import Lattice
from llmkit.quant.model import EMBEDDING
from llmkit.quant.moments import Moments
from llmkit.quant.rounding import RoundedMatrix, Rounder
from llmkit.workflows.quantize.job import QuantizeJob, open_quantize
from llmkit.workflows.quantize.options import QuantizeConfig
from llmkit.workflows.quantize.quantize import round_model

TYPES = {"Q8_0": 1.0, "Q6_K": 0.90, "Q5_K_M": 1.0, "Q4_K_M": 0.75, "Q3_K_M": 0.80}
"""File types, each with the largest share of llama.cpp's divergence that ours may have."""


@dataclass(frozen=True)
class TheirMatrix(RoundedMatrix):
    """What ggml makes of a matrix: its values, and no codes of ours."""

    made: Tensor

    def values(self) -> Tensor:
        """(R, C) float32."""
        return self.made


class Ggml:
    """ggml's encoder, in the library of the xllamacpp wheel."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("xllamacpp")
        if spec is None or spec.origin is None:
            raise SystemExit("no xllamacpp here: pip install --no-deps xllamacpp")
        import gguf

        self._types = gguf.GGMLQuantizationType
        library = ctypes.CDLL(str(next(Path(spec.origin).parent.glob("*.so"))))
        self._encode = library.ggml_quantize_chunk
        self._encode.restype = ctypes.c_size_t
        address, count = ctypes.c_void_p, ctypes.c_int64
        self._encode.argtypes = [ctypes.c_int, address, address, count, count, count, address]

    def __call__(self, name: str, weight: Tensor, grid: Grid, moments: Moments | None) -> RoundedMatrix:
        """A `Rounder`."""
        told = None if name == EMBEDDING else moments  # llama-imatrix says nothing of it
        stored = self.encode(weight, grid, told)
        values = torch.from_numpy(dequantise(stored, grid.name, tuple(weight.shape)))
        empty = torch.empty(0)
        nothing = Fitted(Lattice(empty, empty), {})
        return TheirMatrix(grid, nothing, torch.empty((0, 0), dtype=torch.uint8), 0.0, None, values)

    def encode(self, weight: Tensor, grid: Grid, moments: Moments | None) -> NDArray[np.uint8]:
        """The bytes of a matrix."""
        rows, columns = weight.shape
        source = np.ascontiguousarray(weight.float().numpy())
        stored = np.zeros(rows * (GGML_TYPES[grid.name].row_nbytes(columns) or 0), np.uint8)
        weighed = None
        if moments is not None and moments.count:
            weighed = np.ascontiguousarray((moments.squares / moments.count).numpy())
        where = None if weighed is None else weighed.ctypes.data
        kind = int(self._types[grid.name])
        self._encode(kind, source.ctypes.data, stored.ctypes.data, 0, rows, columns, where)
        return stored


def quality(job: QuantizeJob, rounder: Rounder | None = None) -> QualityReport:
    """The model rounded as the job has it, or by another rounder, against the original."""
    report = round_model(job, SILENT, rounder=rounder).quality
    assert report is not None
    return report


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--score", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=16_384)
    parser.add_argument("--scale", action="store_true", help="columns scaled first, in our rows")
    parser.add_argument("--types", default=",".join(TYPES))
    given = parser.parse_args()
    ggml = Ggml()
    print("| model | type | bits a weight | KL llama.cpp + imatrix | KL llmkit | ratio | bar |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for path in given.models:
        for kind in given.types.split(","):
            config = QuantizeConfig(
                type=kind,
                container="gguf",
                calibration=(given.calibration,),
                calibration_tokens=given.tokens,
                score=(given.score,),
                score_tokens=given.tokens,
            )
            job = open_quantize(path, None, config, force=False, invocation=Invocation("quantize", {}, ()))
            mine = quality(replace(job, config=replace(config, scale=given.scale)))
            theirs = quality(job, ggml)
            cells = [path.name, kind, f"{job.plan.bits_per_weight:.3f}"]
            cells += [f"{one.kld:.6f} ± {one.kld_error:.6f}" for one in (theirs, mine)]
            cells += [f"{mine.kld / theirs.kld:.2f}", f"{TYPES.get(kind, 1.0):.2f}"]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
