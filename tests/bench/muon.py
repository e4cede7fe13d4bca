"""Muon beside AdamW at equal steps: the same model, rows, order and seeds, each at its best of some rates.

    python tests/bench/muon.py tinyshakespeare.txt.zst --steps 300 --rates 4e-3,1e-2 --seeds 3

A character a token; the last tenth of the text is held out, and all of it is scored. What a step takes is
told too: equal steps are not equal time.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from llmkit.formats.shards import Rows
from llmkit.formats.streams import open_input
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer
from llmkit.train.config import OptimizerName, Recipe, default_initializer_range
from llmkit.train.evaluate import evaluate
from llmkit.train.trainer import Trainer

SEQ_LEN = 64
BATCH_ROWS = 8
HIDDEN_SIZE = 64
OPTIMIZERS: tuple[OptimizerName, ...] = ("adamw", "muon")


class TextRows:
    """Rows of a text, each of SEQ_LEN + 1 ids: a RowSource."""

    def __init__(self, ids: np.ndarray) -> None:
        count = (len(ids) - 1) // SEQ_LEN
        starts = np.arange(count)[:, None] * SEQ_LEN
        self._tokens = ids[starts + np.arange(SEQ_LEN + 1)].astype(np.uint32)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._tokens)

    def read(self, rows: np.ndarray) -> Rows:
        """Some rows, in the order asked for."""
        tokens = self._tokens[rows]
        return Rows(tokens, np.zeros(tokens.shape, np.int32), np.ones(tokens.shape, bool))


def main() -> None:
    """Print a line a run, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rates", default="4e-3,1e-2")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    with open_input(given.text) as stream:
        text = stream.read().decode()
    letters = {letter: number for number, letter in enumerate(sorted(set(text)))}
    ids = np.array([letters[letter] for letter in text])
    cut = len(ids) * 9 // 10
    rates = [float(rate) for rate in given.rates.split(",")]
    losses: dict[tuple[OptimizerName, float], list[float]] = {}
    for seed in range(given.seeds):
        for rate in rates:
            for name in OPTIMIZERS:  # take turns: a busy machine slows both alike
                recipe = _recipe(name, rate, seed, given.steps, len(letters))
                loss, seconds = run(recipe, TextRows(ids[:cut]), TextRows(ids[cut:]))
                losses.setdefault((name, rate), []).append(loss)
                print(f"{name} {rate:g} seed {seed}: {loss:.4f}  {1000 * seconds:.0f} ms a step", flush=True)
    print("| optimiser | rate | " + " | ".join(f"seed {one}" for one in range(given.seeds)) + " | mean |")
    for (name, rate), found in losses.items():
        print(f"| {name} | {rate:g} | {' | '.join(f'{one:.4f}' for one in found)} | {np.mean(found):.4f} |")
    best = {name: min(np.mean(losses[name, rate]) for rate in rates) for name in OPTIMIZERS}
    print(f"at the best rate of each: muon {best['muon'] - best['adamw']:+.4f} nats a character")


def run(recipe: Recipe, rows: TextRows, valid: TextRows) -> tuple[float, float]:
    """Validation loss in nats a character, and seconds of an update (the median)."""
    model = Transformer(ModelConfig.from_hf(recipe.model, source="here"))
    initialise(model, torch.Generator().manual_seed(recipe.seed))
    trainer = Trainer(model, rows, recipe, micro_batch_rows=BATCH_ROWS)
    times = []
    for _ in range(recipe.steps):
        begin = time.perf_counter()
        trainer.train_step()
        times.append(time.perf_counter() - begin)
    trainer.close()
    found = evaluate(model, valid, batch_rows=128, document_mask=False, autocast=trainer.autocast)
    return found.loss, statistics.median(times)


def _recipe(name: OptimizerName, rate: float, seed: int, steps: int, vocab_size: int) -> Recipe:
    model = ModelConfig(
        model_type="qwen3",
        vocab_size=vocab_size,
        hidden_size=HIDDEN_SIZE,
        intermediate_size=176,
        num_hidden_layers=3,
        num_attention_heads=4,
        qk_norm="head",
        max_position_embeddings=SEQ_LEN,
        initializer_range=default_initializer_range(HIDDEN_SIZE),
    )
    return Recipe(
        model=model.to_hf(),
        initial_sha256=None,
        data_sha256="",
        tokenizer_sha256=None,
        seed=seed,
        rows=0,
        seq_len=SEQ_LEN,
        steps=steps,
        batch_rows=BATCH_ROWS,
        lr=rate,
        min_lr_ratio=0.0,
        schedule="wsd",
        warmup_steps=steps // 20,
        decay_ratio=0.4,
        beta1=0.9,
        beta2=0.95,
        weight_decay=0.1,
        clip=1.0,
        dtype="float32",
        document_mask=False,
        optimizer=name,
    )


if __name__ == "__main__":
    main()
