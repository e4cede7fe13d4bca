"""bfloat16 beside float32 on a CPU: tokens a second by width, and what a small model learns of as much text.

    python tests/bench/cpu_dtypes.py speed [--widths 64,128,256,384,512,768] [--rounds N]
    python tests/bench/cpu_dtypes.py quality TEXT [--width 256] [--steps 200] [--seeds 3]

`speed` takes turns, update by update, between two trainers of one shape in one process, and tells processor
time too, which a busy machine disturbs less (with --threads 1). `quality` trains both on a text's bytes from
the same weights and batches, and scores the same held-out rows in float32. What
`llmkit.train.hardware.choose_dtype` does on a CPU follows from these figures (README.md).
"""

import argparse
import copy
import statistics
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llmkit.formats.shards import Rows
from llmkit.formats.streams import open_input
from llmkit.model.init import initialise
from llmkit.model.presets import preset
from llmkit.model.transformer import Transformer
from llmkit.train.config import Recipe, default_lr
from llmkit.train.evaluate import evaluate
from llmkit.train.trainer import Trainer

DTYPES = ("float32", "bfloat16")


class Bytes:
    """Rows of a text, one byte an id, the last tenth held out; or of random ids."""

    def __init__(self, tokens: np.ndarray, length: int) -> None:
        count = (len(tokens) - 1) // length
        self.tokens = np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[: count * length : length]

    def __len__(self) -> int:
        return len(self.tokens)

    def read(self, rows: np.ndarray) -> Rows:
        tokens = self.tokens[rows].astype(np.uint32)
        zeros = np.zeros(tokens.shape, np.int32)
        return Rows(tokens, zeros, zeros == 0)


def shape_of(width: int, layers: int, vocabulary: int, length: int) -> Any:
    heads = max(1, width // 64)
    shape = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    shape |= {"num_key_value_heads": heads, "head_dim": width // heads, "vocab_size": vocabulary}
    shape |= {"intermediate_size": width * 8 // 3, "max_position_embeddings": length}
    return preset("tiny", **shape)


def trainer_of(model: Transformer, rows: Bytes, given: argparse.Namespace, dtype: str, seed: int) -> Trainer:
    recipe = Recipe(
        model=model.config.to_hf(), initial_sha256=None, data_sha256="", tokenizer_sha256=None, seed=seed,
        rows=len(rows), seq_len=given.length, steps=given.steps, batch_rows=given.rows,
        lr=default_lr(model.config.hidden_size), min_lr_ratio=0.1, schedule="cosine",
        warmup_steps=given.steps // 20, decay_ratio=0.4, beta1=0.9, beta2=0.95, weight_decay=0.1, clip=1.0,
        dtype=dtype, document_mask=True,
    )  # fmt: skip
    return Trainer(model, rows, recipe, micro_batch_rows=given.rows)


def speed(given: argparse.Namespace) -> None:
    for width in map(int, given.widths.split(",")):
        layers = 12 if width >= 768 else 4
        config = shape_of(width, layers, given.vocabulary, given.length)
        random = np.random.default_rng(0).integers(0, given.vocabulary, given.length * 4096 + 1)
        rows = Bytes(random, given.length)
        trainers = {one: trainer_of(Transformer(config), rows, given, one, 0) for one in DTYPES}
        seconds: dict[str, list[tuple[float, float]]] = {one: [] for one in DTYPES}
        for number in range(given.rounds + 1):
            for dtype in DTYPES if number % 2 == 0 else DTYPES[::-1]:
                begin = (time.perf_counter(), time.process_time())
                trainers[dtype].train_step()
                end = (time.perf_counter(), time.process_time())
                seconds[dtype].append((end[0] - begin[0], end[1] - begin[1]))
        told = []
        for at, clock in enumerate(("wall", "CPU")):
            taken = {one: [both[at] for both in times[1:]] for one, times in seconds.items()}
            rates = {one: given.rows * given.length / statistics.median(taken[one]) for one in DTYPES}
            pairs = [a / b for a, b in zip(*(taken[one] for one in DTYPES), strict=True)]
            told.append(
                f"{clock}: float32 {rates['float32']:.0f} tokens/s, bfloat16 {rates['bfloat16']:.0f}, "
                f"{statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})"
            )
        print(f"width {width}, {layers} layers, {'; '.join(told)}", flush=True)
        for trainer in trainers.values():
            trainer.close()


def quality(given: argparse.Namespace) -> None:
    with open_input(given.text) as stream:
        ids = np.frombuffer(stream.read(), np.uint8)
    cut = len(ids) * 9 // 10
    learnt, held = Bytes(ids[:cut], given.length), Bytes(ids[cut:], given.length)
    for seed in range(given.seeds):
        fresh = Transformer(shape_of(given.width, 4, 256, given.length))
        initialise(fresh, torch.Generator().manual_seed(seed))
        for dtype in DTYPES:
            trainer = trainer_of(copy.deepcopy(fresh), learnt, given, dtype, seed)
            begin = time.perf_counter()
            losses = [trainer.train_step().loss for _ in range(given.steps)]
            took = time.perf_counter() - begin
            how: Any = {"batch_rows": 32, "document_mask": True, "autocast": nullcontext}
            found = evaluate(trainer.model, held, limit=given.limit, **how)
            trainer.close()
            tail = statistics.mean(losses[-10:])
            print(
                f"seed {seed} {dtype}: validation {found.loss:.4f}, last ten {tail:.4f}, {took:.0f} s",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("speed", "quality"))
    parser.add_argument("text", type=Path, nargs="?")
    parser.add_argument("--widths", default="64,128,256,384,512,768")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=400)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    {"speed": speed, "quality": quality}[given.what](given)


if __name__ == "__main__":
    main()
