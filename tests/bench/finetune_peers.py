"""A LoRA step beside peft and transformers: tokens a second and peak memory, all else the same.

    python tests/bench/finetune_peers.py [--shape small|100m] [--rounds N] [--steps N] [--rows N]

The same shape, rank, targets and batch. Each side runs in a process of its own, in turns, so that the peak
(VmHWM) is its own. Every token is learnt; float32, torch's AdamW, weights at random. Speed leaves the first
step out. On a busy machine look at the ratio by processor time, with --threads 1.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

SHAPES: dict[str, dict[str, Any]] = {
    "small": {
        "hidden_size": 384,
        "intermediate_size": 1024,
        "num_hidden_layers": 8,
        "num_attention_heads": 6,
    },
    "100m": {
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    },
}
COMMON: dict[str, Any] = {"vocab_size": 32000, "max_position_embeddings": 1024, "tie_word_embeddings": True}
LENGTH, RANK = 512, 16


def ours(shape: dict[str, Any], ids: torch.Tensor) -> Callable[[], None]:
    """A step of llmkit's."""
    from llmkit.model.adapters.add_lora import add_lora
    from llmkit.model.adapters.config import LoraConfig
    from llmkit.model.config import ModelConfig
    from llmkit.model.init import initialise
    from llmkit.model.transformer import Transformer
    from llmkit.train.loss import Batch
    from llmkit.train.objective import NextToken

    model = Transformer(ModelConfig(num_key_value_heads=shape["num_attention_heads"], **shape, **COMMON))
    initialise(model, torch.Generator().manual_seed(0))
    add_lora(model, LoraConfig(r=RANK), seed=0)
    batch = Batch(ids[:, :-1], ids[:, 1:], None, ids[:, 1:].numel())
    return step_of(model, lambda: NextToken().loss_sum(model, batch)[0] / batch.count)


def theirs(shape: dict[str, Any], ids: torch.Tensor) -> Callable[[], None]:
    """A step of peft's."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    lora = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(LlamaForCausalLM(LlamaConfig(**shape, **COMMON, use_cache=False)), lora)
    return step_of(model, lambda: model(input_ids=ids, labels=ids).loss)


def step_of(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """Forward, backward, update."""
    model.train()
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-4)

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(side: str, given: argparse.Namespace) -> None:
    """In a process of its own: print speed and peak."""
    torch.set_num_threads(given.threads)
    ids = torch.randint(
        COMMON["vocab_size"], (given.rows, LENGTH + 1), generator=torch.Generator().manual_seed(1)
    )
    step = {"llmkit": ours, "peft": theirs}[side](SHAPES[given.shape], ids)
    step()
    started, worked = time.perf_counter(), time.process_time()
    for _ in range(given.steps):
        step()
    seconds = (time.perf_counter() - started) / given.steps
    worked_seconds = (time.process_time() - worked) / given.steps
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    tokens = given.rows * LENGTH
    print(json.dumps({"speed": tokens / seconds, "worked": tokens / worked_seconds, "peak": peak / 1024}))


def main() -> None:
    """Run the sides in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--side", choices=("llmkit", "peft"), help=argparse.SUPPRESS)
    for name, value in (("rounds", 3), ("steps", 5), ("rows", 4), ("threads", os.cpu_count() or 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    if given.side:
        measure(given.side, given)
        return
    found: dict[str, list[dict[str, float]]] = {"llmkit": [], "peft": []}
    for number in range(given.rounds):
        for side in sorted(found, reverse=bool(number % 2)):
            command = [sys.executable, *sys.argv, "--side", side]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[side].append(json.loads(done.stdout.splitlines()[-1]))
    for side, rounds in found.items():
        speed, peak = (statistics.median(one[what] for one in rounds) for what in ("speed", "peak"))
        spread = [round(one["speed"]) for one in rounds]
        print(f"| {given.shape} | {side} | {speed:,.0f} | {peak:,.0f} MiB | {spread} |")
    pairs = list(zip(found["llmkit"], found["peft"], strict=True))
    for what, of in (("speed", "time"), ("worked", "processor time")):
        ratios = [one[what] / other[what] for one, other in pairs]
        rounds = ", ".join(f"{one:.2f}" for one in ratios)
        print(f"{given.shape}: ratio of tokens by {of} {statistics.median(ratios):.2f}; by round {rounds}")


if __name__ == "__main__":
    main()
