"""A training step beside nanoGPT's loop and one over transformers' model, in turns: tokens a second and MFU.

    python tests/bench/train_peers.py --nanogpt NANOGPT [--shape small|100m|124m] [--compile] [--rounds N]

NANOGPT is a checkout of github.com/karpathy/nanoGPT; nothing of it is copied here. llmkit learns each peer's
own shape: GPT-2's beside nanoGPT (its model.py, its optimiser, the loop of its train.py), Llama's beside
LlamaForCausalLM with torch's fused AdamW. The same rows of random ids, all targets learnt, gradients clipped
at 1. Each side runs in a process of its own, once for each arithmetic; the first two steps are left out. Told
are equal arithmetics, and what each does where nothing is asked for: ours by `--dtype auto`, nanoGPT and
transformers' Trainer in float32 on a CPU and bfloat16 on a GPU. Tokens a second of processor time, with
--threads 1, are what a busy machine disturbs least. On a GPU:

    python tests/bench/train_peers.py --nanogpt NANOGPT --device cuda --dtypes bfloat16 --compile \
        --shape 124m --length 1024 --rows 32 --steps 20
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

SHAPES = {"small": (384, 8, 6, 32000), "100m": (768, 12, 12, 32000), "124m": (768, 12, 12, 50304)}
"""Width, layers, heads, vocabulary; 124m is GPT-2's smallest with nanoGPT's vocabulary."""
Step = Callable[[int], float]


def main() -> None:
    """Run one side, or all sides in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nanogpt", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="100m")
    parser.add_argument("--dtypes", default="float32,bfloat16", help="of both sides")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="of the one side")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--fp8", action="store_true", help="of llmkit, beside peers in bfloat16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", choices=SIDES)
    given = parser.parse_args()
    if given.side:
        print(json.dumps(timed(given)))
        return
    dtypes = given.dtypes.split(",")
    sides = [side for side in SIDES if given.nanogpt or side not in ("nanogpt", "llmkit-gpt2")]
    cases = [(side, dtype) for side in sides for dtype in dtypes]
    found: dict[tuple[str, str], list[dict[str, float]]] = {case: [] for case in cases}
    for number in range(given.rounds):
        for side, dtype in cases if number % 2 == 0 else cases[::-1]:
            line = [sys.executable, __file__, *sys.argv[1:], "--side", side, "--dtype", dtype]
            told = subprocess.run(line, check=True, capture_output=True).stdout.splitlines()[-1]
            found[side, dtype].append(json.loads(told))
            print(number, side, dtype, found[side, dtype][-1], flush=True)
    for (side, dtype), runs in found.items():
        medians = {name: statistics.median(one[name] for one in runs) for name in runs[0]}
        figures = "  ".join(f"{name} {value:.4g}" for name, value in medians.items())
        print(f"{side:14} {dtype:9} {figures}")
    pairs = [(dtype, dtype) for dtype in dtypes]
    default = defaults(given)
    for ours, peer in (("llmkit-gpt2", "nanogpt"), ("llmkit-llama", "transformers")):
        for own, theirs in dict.fromkeys([*pairs, default]):
            if (ours, own) not in found or (peer, theirs) not in found:
                continue
            what = f"{ours} {own} / {peer} {theirs}" + " (defaults)" * ((own, theirs) == default)
            for name in ("tokens_per_second", "tokens_per_cpu_second"):
                ratios = [
                    one[name] / other[name]
                    for one, other in zip(found[ours, own], found[peer, theirs], strict=True)
                ]
                low, high = min(ratios), max(ratios)
                print(f"{what}, {name}: {statistics.median(ratios):.3f}  ({low:.3f} to {high:.3f})")


def defaults(given: argparse.Namespace) -> tuple[str, str]:
    """The arithmetic of ours and of the peers where nobody asks for one."""
    from llmkit.train.hardware import choose_dtype

    device = torch.device(given.device)
    return choose_dtype("auto", device, SHAPES[given.shape][0]), (
        "bfloat16" if device.type == "cuda" else "float32"
    )


def timed(given: argparse.Namespace) -> dict[str, float]:
    """Tokens a second of the median step, and the share of the peak that they are."""
    from llmkit.kernels.library import available, set_threads
    from llmkit.train.freed_memory import freed_memory_kept
    from llmkit.train.hardware import measure_peak

    torch.set_num_threads(given.threads)
    if available():
        set_threads(given.threads)
    torch.manual_seed(0)
    step, parameters = SIDES[given.side](given)
    seconds, worked = [], []
    with freed_memory_kept() if given.side.startswith("llmkit") else nullcontext():  # as `pretrain` does
        for number in range(given.steps + 2):
            begin, before = time.perf_counter(), time.process_time()
            step(number)
            seconds.append(time.perf_counter() - begin)
            worked.append(time.process_time() - before)
    device = torch.device(given.device)
    peak = measure_peak(device, given.dtype).flops_per_second
    rate = given.rows * given.length / statistics.median(seconds[2:])
    width, layers, _, _ = SHAPES[given.shape]
    flops = 6 * parameters + 6 * layers * width * given.length  # causal scores count half of 12 L D T
    found = {"tokens_per_second": rate, "mfu": rate * flops / peak, "parameters": parameters}
    found["tokens_per_cpu_second"] = given.rows * given.length / statistics.median(worked[2:])
    if device.type == "cuda":
        found["of_products"] = rate * flops / products(device)
        found["gigabytes"] = torch.cuda.max_memory_allocated(device) / 1e9
    return found


def products(device: torch.device) -> float:
    """Operations a second of a large bfloat16 product of random numbers, right after the steps."""
    a = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    seconds = []
    for _ in range(12):
        torch.cuda.synchronize(device)
        begin = time.perf_counter()
        a @ a
        torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - begin)
    return 2 * 8192**3 / statistics.median(seconds)


def ids_of(given: argparse.Namespace, number: int) -> torch.Tensor:
    """(rows, length + 1) random ids."""
    generator = torch.Generator().manual_seed(number)
    return torch.randint(SHAPES[given.shape][3], (given.rows, given.length + 1), generator=generator).to(
        given.device
    )


def llmkit(given: argparse.Namespace, kind: str) -> tuple[Step, int]:
    """The trainer of `llmkit pretrain`, with its reading thread."""
    from llmkit.formats.shards import Rows
    from llmkit.model.init import initialise
    from llmkit.model.presets import preset
    from llmkit.model.transformer import Transformer
    from llmkit.train.config import Recipe
    from llmkit.train.parallel.divided import Divided
    from llmkit.train.trainer import Trainer

    class Random:
        def __len__(self) -> int:
            return 1 << 20

        def read(self, rows: Any) -> Rows:
            tokens = np.random.default_rng(int(rows[0])).integers(
                0, vocabulary, (len(rows), given.length + 1)
            )
            zeros = np.zeros(tokens.shape, np.int32)
            return Rows(tokens.astype(np.uint32), zeros, zeros == 0)

    width, layers, heads, vocabulary = SHAPES[given.shape]
    shape = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    shape |= {"num_key_value_heads": heads, "head_dim": width // heads}
    shape |= {"vocab_size": vocabulary}
    shape |= {"max_position_embeddings": given.length}
    if kind == "llama":
        shape |= {"intermediate_size": width * 8 // 3, "model_type": "llama", "tie_word_embeddings": True}
        config = preset("tiny", **{**shape, "qk_norm": "none"})
    else:
        config = preset("gpt2", **{**shape, "intermediate_size": 4 * width})
    model = Transformer(config)
    initialise(model, torch.Generator().manual_seed(0))
    recipe = Recipe(
        model=config.to_hf(), initial_sha256=None, data_sha256="", tokenizer_sha256=None, seed=0,
        rows=1 << 20, seq_len=given.length, steps=1000, batch_rows=given.rows, lr=1e-4,
        min_lr_ratio=0.1, schedule="cosine", warmup_steps=10, decay_ratio=0.4, beta1=0.9, beta2=0.95,
        weight_decay=0.1, clip=1.0, dtype=given.dtype, document_mask=True, fp8=given.fp8,
    )  # fmt: skip
    divided = Divided(model.to(given.device), dtype=given.dtype, compiles=given.compile, fp8=given.fp8)
    trainer = Trainer(divided, Random(), recipe, micro_batch_rows=given.rows)
    return lambda number: trainer.train_step().loss, sum(one.numel() for one in model.parameters())


def nanogpt(given: argparse.Namespace) -> tuple[Step, int]:
    """Its model and optimiser, and the body of its loop."""
    sys.path.insert(0, str(given.nanogpt))
    from model import GPT, GPTConfig  # type: ignore[import-not-found]

    width, layers, heads, vocabulary = SHAPES[given.shape]
    shape = GPTConfig(given.length, vocabulary, layers, heads, width, 0.0, True)
    model = GPT(shape).to(given.device)
    optimizer = model.configure_optimizers(0.1, 1e-4, (0.9, 0.95), given.device)
    run = torch.compile(model) if given.compile else model

    def step(number: int) -> float:
        ids = ids_of(given, number)
        with torch.autocast(given.device, dtype=torch.bfloat16, enabled=given.dtype == "bfloat16"):
            _, loss = run(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step, sum(one.numel() for one in model.parameters())


def transformers(given: argparse.Namespace) -> tuple[Step, int]:
    """LlamaForCausalLM, scaled dot-product attention, torch's fused AdamW."""
    from transformers import LlamaConfig, LlamaForCausalLM

    width, layers, heads, vocabulary = SHAPES[given.shape]
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=width * 8 // 3,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=given.length,
            tie_word_embeddings=True,
        )
    )
    model.to(given.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, (0.9, 0.95), weight_decay=0.1, fused=True)
    run = torch.compile(model) if given.compile else model

    def step(number: int) -> float:
        ids = ids_of(given, number)[:, :-1].contiguous()
        with torch.autocast(given.device, dtype=torch.bfloat16, enabled=given.dtype == "bfloat16"):
            loss = run(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step, sum(one.numel() for one in model.parameters())


SIDES: dict[str, Callable[[argparse.Namespace], tuple[Step, int]]] = {
    "llmkit-gpt2": lambda given: llmkit(given, "gpt2"),
    "nanogpt": nanogpt,
    "llmkit-llama": lambda given: llmkit(given, "llama"),
    "transformers": transformers,
}

if __name__ == "__main__":
    main()
