"""How long quantising takes at the shape of a 1.1B model, and our encoder beside ggml's, per thread.

    python tests/bench/quantise_speed.py [--layers 22] [--calibrated-layers 2] [--folder PATH]

A model of TinyLlama's shape is drawn at random in bfloat16 (2.2 GB on the disk). Rounding to the nearest is
timed whole: load, encode and write. The calibrated run is timed over so many layers and over twice as many,
and told for all: each layer is the same work. Run it on a quiet machine.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from quantise_peers import Ggml

from llmkit.formats.provenance import Invocation
from llmkit.kernels.library import available, set_threads
from llmkit.machine import cores
from llmkit.model.config import ModelConfig
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer
from llmkit.quant.ggml_bytes import ggml_bytes
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.grid import Grid
from llmkit.quant.rounding import round_matrix
from llmkit.workflows.quantize.job import open_quantize
from llmkit.workflows.quantize.options import QuantizeConfig
from llmkit.workflows.quantize.quantize import quantize

SHAPE = ModelConfig(
    model_type="llama",
    vocab_size=32_000,
    hidden_size=2048,
    intermediate_size=5632,
    num_hidden_layers=22,
    num_attention_heads=32,
    num_key_value_heads=4,
    max_position_embeddings=2048,
    dtype="bfloat16",
)
NEAREST = (("gguf", "Q4_0"), ("gguf", "Q4_K_S"), ("compressed-tensors", "int4-g128"))
ENCODERS = ("Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K", "Q4_0", "IQ4_XS")
_WEIGHTS = (512, 4096)
"""Of the matrix that encoders are timed with."""


def make(folder: Path, layers: int) -> Path:
    """A model of the shape, with so many layers; what is there already is taken."""
    place = folder / f"random-{layers}"
    if not place.exists():
        model = Transformer(replace(SHAPE, num_hidden_layers=layers)).bfloat16()
        generator = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(0, 0.02, generator=generator)
        place.mkdir(parents=True)
        save_model(model, place)
    return place


def nearest(model: Path, container: str, kind: str, folder: Path) -> float:
    """Seconds of a whole run without text."""
    out = folder / ("out.gguf" if container == "gguf" else "out")
    config = QuantizeConfig(container=container, type=kind)  # type: ignore[arg-type]
    begun = time.perf_counter()
    quantize(open_quantize(model, out, config, force=True, invocation=Invocation("quantize", {}, ())))
    return time.perf_counter() - begun


def calibrated(model: Path, kind: str, tokens: int) -> float:
    """Seconds of rounding with feedback over ids drawn at random, nothing scored and nothing written."""
    config = QuantizeConfig(container="compressed-tensors", type=kind)
    job = open_quantize(model, None, config, force=False, invocation=Invocation("quantize", {}, ()))
    ids = torch.randint(SHAPE.vocab_size, (tokens // 512, 512), generator=torch.Generator().manual_seed(1))
    begun = time.perf_counter()
    quantize(replace(job, calibration=ids))
    return time.perf_counter() - begun


def encoders(ggml: Ggml) -> None:
    """Millions of weights a second of one thread: rounded and made into a file's bytes."""
    torch.manual_seed(0)
    weight = torch.randn(_WEIGHTS)
    if available():
        set_threads(1)
    torch.set_num_threads(1)
    print("| type | ggml M/s | llmkit M/s | ratio |\n|---|---:|---:|---:|")
    for name in ENCODERS:
        grid = GGML_GRIDS[name]

        def ours(name: str = name) -> None:
            rounded = round_matrix(weight, GGML_GRIDS[name], None)
            ggml_bytes(name, rounded.fitted.stored, rounded.codes)

        def other(grid: Grid = grid) -> None:
            ggml.encode(weight, grid, None)

        theirs = best(other)
        mine = best(ours)
        millions = weight.numel() / 1e6
        print(
            f"| {name} | {millions / theirs:.1f} | {millions / mine:.1f} | {theirs / mine:.2f} |", flush=True
        )


def best(run: Callable[[], object], times: int = 5) -> float:
    """Seconds of the fastest of several runs."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        run()
        found.append(time.perf_counter() - begun)
    return min(found)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=SHAPE.num_hidden_layers)
    parser.add_argument("--calibrated-layers", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=16_384)
    parser.add_argument("--folder", type=Path, help="Where the model is kept; default: gone afterwards.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        model = make(folder, given.layers)
        print(f"{given.layers} layers, {cores()} cores")
        for container, kind in NEAREST:
            print(f"nearest, {container} {kind}: {nearest(model, container, kind, folder):.1f} s", flush=True)
        few, more = given.calibrated_layers, 2 * given.calibrated_layers
        short, long = (calibrated(make(folder, count), "int4-g128", given.tokens) for count in (few, more))
        each = (long - short) / (more - few)
        whole = short + each * (SHAPE.num_hidden_layers - few)
        print(
            f"calibrated, int4-g128 over {given.tokens} tokens: {short:.1f} s for {few} layers, {long:.1f} s "
            f"for {more}; so {each:.1f} s each, and {whole / 60:.1f} min for {SHAPE.num_hidden_layers}",
            flush=True,
        )
    encoders(Ggml())


if __name__ == "__main__":
    main()
