"""What another adapter costs: texts one after the other that keep to one adapter, or change at each.

    python tests/bench/adapter_switch.py [--texts N] [--rank N] [--threads N]

The 100M shape in int8, native kernels, three random LoRA adapters on all linear modules. A text is a prompt
of 8 ids and one token, so that what the change costs is a large part of it. Orders take turns; the figure is
the difference of medians. Loading and unloading are measured beside it.
"""

import argparse
import random
import statistics
import time

import torch
from torch import nn

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.module_weights import pack_model
from llmkit.engine.request import Request
from llmkit.kernels.library import set_threads
from llmkit.kernels.packed import PackedFormat
from llmkit.model.adapters.weights import AdapterWeights, LowRank
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer

SHAPE = ModelConfig(
    vocab_size=32_000,
    hidden_size=768,
    intermediate_size=2048,
    num_hidden_layers=12,
    num_attention_heads=12,
    num_key_value_heads=4,
    max_position_embeddings=1024,
    tie_word_embeddings=True,
)
NAMES = ("one", "two", "three")
ONE_TOKEN = SamplingConfig(max_tokens=1, temperature=0.0, ignore_eos=True)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("texts", 200), ("rank", 16), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    torch.set_num_threads(1)
    set_threads(given.threads)
    model = made()
    engine = Engine(pack_model(model, PackedFormat.INT8), EngineConfig(positions=4096, reuse=False))
    for seed, name in enumerate(NAMES):
        weights = adapter(model, seed, given.rank)
        started = time.perf_counter()
        engine.adapters.load(name, weights)
        print(f"load {name}: {1000 * (time.perf_counter() - started):.2f} ms")
    print(*(f"{one.name}: {one.memory_bytes / 2**20:.1f} MiB" for one in engine.adapters.uses()), sep=", ")
    texts: dict[str, list[float]] = {"kept": [], "changed": []}
    for number in range(given.texts):
        for order in sorted(texts, reverse=bool(number % 2)):
            name = NAMES[number % 3] if order == "changed" else NAMES[0]
            write(engine, NAMES[(number + 1) % 3] if order == "changed" else name)  # the one before it
            texts[order].append(write(engine, name))
    kept, changed = (statistics.median(found) for found in texts.values())
    print(f"a text {1000 * kept:.3f} ms, after another adapter's {1000 * changed:.3f} ms")
    started = time.perf_counter()
    engine.adapters.unload(NAMES[0])
    print(f"unload: {1000 * (time.perf_counter() - started):.3f} ms")


def made() -> Transformer:
    """The base."""
    model = Transformer(SHAPE).eval()
    initialise(model, torch.Generator().manual_seed(0))
    return model


def adapter(model: Transformer, seed: int, rank: int) -> AdapterWeights:
    """Random factors for every linear module of the layers."""
    draw = torch.Generator().manual_seed(seed)
    modules = {}
    for name, module in model.model.layers.named_modules(prefix="model.layers"):
        if isinstance(module, nn.Linear):
            down, up = ((rank, module.in_features), (module.out_features, rank))
            factors = [0.02 * torch.randn(*shape, generator=draw) for shape in (down, up)]
            modules[name] = LowRank(factors[0], factors[1], 2.0, None)
    return AdapterWeights(modules)


def write(engine: Engine, name: str) -> float:
    """A text's time."""
    request = Request(tuple(random.choices(range(SHAPE.vocab_size), k=8)), ONE_TOKEN, adapter=name)
    started = time.perf_counter()
    list(engine.run(request))
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
