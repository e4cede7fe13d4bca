"""10,000 requests through one engine: at the end no block is missing, and memory has not grown.

    python tests/bench/soak.py [--requests N] [--kernels native|torch]

A tiny model, a pool so small that texts lose their memory and start again, prompts that share beginnings,
every kind of sampling, stop ids, several texts at once, and one in five given up at a random step. Prints
memory and counts ten times; exits 1 where blocks are missing, or memory after the first fifth grew by more
than 2 MB (the allocator's own coming and going is some hundred kB).
"""

import argparse
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.module_weights import pack_model
from llmkit.engine.request import Request
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer

VOCABULARY = 96
CONFIG = ModelConfig(
    vocab_size=VOCABULARY,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    tie_word_embeddings=True,
)
BLOCKS, BLOCK_TOKENS, TEXTS = 24, 4, 8
"""96 positions for eight texts of up to 60."""
ALLOWED_GROWTH_BYTES = 2_000_000


@dataclass
class Tally:
    """What came of the requests."""

    finished: int = 0
    aborted: int = 0
    errors: int = 0
    tokens: int = 0
    resident: list[int] = field(default_factory=list)


def main() -> int:
    """Run, print, and say whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--kernels", choices=("native", "torch"), default="native")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Transformer(CONFIG)
    initialise(model, torch.Generator().manual_seed(0))
    model.eval()
    sizes = EngineConfig(
        positions=BLOCKS * BLOCK_TOKENS, block_tokens=BLOCK_TOKENS, max_texts=TEXTS, pass_tokens=32
    )
    engine = Engine(pack_model(model) if given.kernels == "native" else model, sizes, stop_ids=[5])
    tally = soak(engine, given.requests)
    free, total = engine.pool.num_free, engine.pool.num_blocks
    growth = max(tally.resident[len(tally.resident) // 5 :]) - tally.resident[len(tally.resident) // 5]
    counts = engine.counts
    print(
        f"{tally.finished} finished, {tally.aborted} given up, {tally.errors} failed, {tally.tokens} tokens, "
        f"{counts.passes} passes, {counts.cached_tokens} tokens of prompts found, {counts.restarts} restarts"
    )
    print(f"blocks free {free} of {total}; memory grew by {growth / 1e6:.2f} MB after the first fifth")
    well = free == total and engine.is_idle and growth <= ALLOWED_GROWTH_BYTES and not tally.errors
    well = well and tally.finished + tally.aborted == given.requests and counts.restarts > 0
    print("well" if well else "NOT WELL")
    return 0 if well else 1


def soak(engine: Engine, requests: int) -> Tally:
    """Put requests in as there is room, give some up, and step until all are over."""
    chance, tally = random.Random(0), Tally()
    doomed: dict[int, int] = {}
    running: set[int] = set()
    begun = 0
    while begun < requests or running:
        while begun < requests and len(running) < 2 * TEXTS:  # half of them wait
            number = engine.submit(_request(chance))
            running.add(number)
            if chance.random() < 0.2:
                doomed[number] = chance.randrange(12)
            begun += 1
            if begun % max(1, requests // 50) == 0:
                tally.resident.append(resident_bytes())
            if begun % max(1, requests // 10) == 0:
                free, total = engine.pool.num_free, engine.pool.num_blocks
                print(
                    f"{begun:>6} requests: {tally.resident[-1] / 1e6:.2f} MB, blocks free {free} of {total}",
                    flush=True,
                )
        for event in engine.step():
            if event.error is not None:
                tally.errors += 1
                running.discard(event.number)
            elif event.drawn is not None:
                tally.tokens += 1
                if event.drawn.finish is not None:
                    tally.finished += 1
                    running.discard(event.number)
        for number in [one for one, left in doomed.items() if left == 0 or one not in running]:
            del doomed[number]
            if number in running:
                engine.abort(number)
                running.discard(number)
                tally.aborted += 1
        doomed = {number: left - 1 for number, left in doomed.items()}
    return tally


def _request(chance: random.Random) -> Request:
    """Short; half of the prompts begin alike."""
    begin = [7] * chance.choice((0, 4, 8, 13))
    prompt = (*begin, *(chance.randrange(VOCABULARY) for _ in range(chance.randint(1, 24))))
    sampling = SamplingConfig(
        max_tokens=chance.randint(1, 24),
        temperature=chance.choice((0.0, 0.7, 1.3)),
        top_k=chance.choice((0, 0, 10)),
        top_p=chance.choice((1.0, 0.9)),
        min_p=chance.choice((0.0, 0.05)),
        typical_p=chance.choice((1.0, 0.95)),
        repetition_penalty=chance.choice((1.0, 1.0, 1.2)),
        logprobs=chance.choice((None, None, 3)),
        seed=chance.randrange(1000),
    )
    return Request(prompt, sampling, key=chance.choice(("", "", "a", "b")))


def resident_bytes() -> int:
    """Memory of this process that is its own: no mapped files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not tell a process's own memory: no /proc")


if __name__ == "__main__":
    sys.exit(main())
