"""What it takes to look at every head of one layer over a long text: memory, and time by length.

A process reads a text of random ids through layer 0 and computes all statistics, a small map, and the
strongest edges of one head. Memory is what the process holds beyond what it held with the model loaded.

    python tests/bench/attention_memory.py --tokens 4096 8192 16384 32768

Each length runs in a process of its own, so that none has what another has left. Seconds are one processor's
own, so that a busy machine tells nearly the same; over pairs of query and key, and heads, they tell whether a
query costs the same for each of its keys.
"""

import argparse
import json
import subprocess
import sys
import time

import torch

from llmkit.machine import peak_memory_bytes
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer
from llmkit.probe.attention.capture import capture
from llmkit.probe.attention.edges import top_edges
from llmkit.probe.attention.region import region_map, region_of
from llmkit.probe.attention.statistics import head_statistics


def measure(tokens: int, heads: int, groups: int, window: int | None, layers: int) -> dict[str, float]:
    """Processor seconds of each step, and bytes beyond the model's own."""
    torch.set_num_threads(1)
    config = ModelConfig(
        model_type="llama" if window is None else "mistral",
        vocab_size=32_000,
        hidden_size=64 * heads,
        intermediate_size=128 * heads,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        max_position_embeddings=1 << 17,
        sliding_window=window,
        sliding_layers=() if window is None else tuple(range(layers)),
    )
    torch.manual_seed(0)
    model = Transformer(config).eval()
    ids = torch.randint(0, 32_000, (tokens,), generator=torch.Generator().manual_seed(0))
    before, seconds = peak_memory_bytes(), {}
    start = time.process_time()

    def clock(name: str) -> None:
        nonlocal start
        seconds[name] = round(time.process_time() - start, 2)
        start = time.process_time()

    (layer,) = capture(model, ids, [layers - 1])
    clock("capture")
    captured = peak_memory_bytes() - before
    head_statistics(layer, ids)
    clock("statistics")
    region_map(layer, 0, region_of(tokens, (None, None), (None, None)), 64, 64)
    clock("map of one head")
    sum(1 for _ in top_edges(layer, 0, 4))
    clock("edges of one head")
    return {
        "tokens": tokens,
        **seconds,
        "statistics ns per pair": round(seconds["statistics"] * 2e9 / tokens**2 / heads, 2),
        "MiB captured": captured >> 20,
        "MiB in all": (peak_memory_bytes() - before) >> 20,
    }


def main() -> None:
    """One line of JSON for each length."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, nargs="+", default=[4096, 8192, 16384, 32768])
    parser.add_argument("--heads", type=int, default=8, help="of 64 numbers each")
    parser.add_argument("--groups", type=int, default=2)
    parser.add_argument("--layers", type=int, default=1, help="the last is looked at")
    parser.add_argument("--window", type=int)
    args = parser.parse_args()
    if len(args.tokens) == 1:
        print(json.dumps(measure(args.tokens[0], args.heads, args.groups, args.window, args.layers)))
        return
    for tokens in args.tokens:
        given = [f"--heads={args.heads}", f"--groups={args.groups}", f"--layers={args.layers}"]
        given += [] if args.window is None else [f"--window={args.window}"]
        subprocess.run([sys.executable, __file__, "--tokens", str(tokens), *given], check=True)


if __name__ == "__main__":
    main()
