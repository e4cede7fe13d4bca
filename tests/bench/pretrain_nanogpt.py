"""Time `llmkit pretrain` beside nanoGPT's train.py, in turns, on nanoGPT's recipe for a CPU.

    python tests/bench/pretrain_nanogpt.py NANOGPT tinyshakespeare.txt.zst --steps 300 --rounds 3

NANOGPT is a checkout of github.com/karpathy/nanoGPT; nothing of it is copied here. Both learn the same text,
a character a token, first 90 %, and both evaluate nothing. Whole processes are timed, imports included, and
the loops alone by what each of them reports.
"""

import argparse
import json
import pickle
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from llmkit.formats.streams import open_input

RECIPE = [
    *(
        "--preset",
        "nanogpt-cpu",
        "--seq-len",
        "64",
        "--batch-rows",
        "12",
        "--lr",
        "1e-3",
        "--min-lr-ratio",
        "0.1",
    ),
    *("--warmup-steps", "100", "--beta2", "0.99", "--weight-decay", "0.1", "--clip", "1.0"),
]
NANOGPT = [
    *("config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--block_size=64"),
    *("--batch_size=12", "--n_layer=4", "--n_head=4", "--n_embd=128", "--dropout=0.0", "--eval_iters=1"),
    *("--eval_interval=1000000", "--log_interval=1"),
]


def main() -> None:
    """Take turns and print one line a round and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("nanogpt", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        prepare(given.text, given.nanogpt, scratch)
        rounds = [compare(given.nanogpt, scratch, given.steps, number) for number in range(given.rounds)]
    for name in rounds[0]:
        print(f"median {name}: {statistics.median(one[name] for one in rounds):.2f}")


def prepare(text: Path, nanogpt: Path, scratch: Path) -> None:
    """The same characters for both: train.bin and meta.pkl for one, text and a tokenizer for the other."""
    with open_input(text) as stream:
        content = stream.read().decode()
    letters = sorted(set(content))
    ids = {letter: number for number, letter in enumerate(letters)}
    cut = len(content) * 9 // 10
    data = nanogpt / "data" / "shakespeare_char"
    for name, part in (("train", content[:cut]), ("val", content[cut:])):
        np.array([ids[letter] for letter in part], dtype=np.uint16).tofile(data / f"{name}.bin")
        (scratch / f"{name}.txt").write_text(part)
    with (data / "meta.pkl").open("wb") as stream:
        pickle.dump({"vocab_size": len(letters), "itos": dict(enumerate(letters)), "stoi": ids}, stream)
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "truncation": None,
        "padding": None,
        "normalizer": None,
    }
    tokenizer |= {
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": ""},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": letters[0]},
    }
    (scratch / "tokenizer.json").write_text(json.dumps(tokenizer))


def compare(nanogpt: Path, scratch: Path, steps: int, number: int) -> dict[str, float]:
    """One run of each; seconds of the process, and milliseconds of a step in the loop (its median)."""
    out = scratch / f"run{number}"
    line = ["pretrain", "--data", scratch / "train.txt", "-t", scratch / "tokenizer.json", "-o", out, "-q"]
    ours = timed([sys.executable, "-m", "llmkit", *line, *RECIPE, "--steps", str(steps)], scratch)[0]
    records = [json.loads(row) for row in (out / "metrics.jsonl").read_text().splitlines()]
    own_steps = [row["tokens"] for row in records if "event" not in row]
    speeds = [row["tokens_per_second"] for row in records if "event" not in row]
    tokens = own_steps[-1] / len(own_steps)
    words = [
        *NANOGPT,
        f"--max_iters={steps}",
        f"--lr_decay_iters={steps}",
        f"--out_dir={scratch / 'nanogpt'}",
    ]
    theirs, log = timed([sys.executable, "train.py", *words], nanogpt)
    times = [float(found) for found in re.findall(r"time ([0-9.]+)ms", log)]
    result = {
        "llmkit process seconds": ours,
        "nanoGPT process seconds": theirs,
        "llmkit step milliseconds": 1000 * tokens / statistics.median(speeds),
        "nanoGPT step milliseconds": statistics.median(times),
    }
    print("  ".join(f"{name} {value:.2f}" for name, value in result.items()), flush=True)
    return result


def timed(words: list[object], folder: Path) -> tuple[float, str]:
    """Seconds that a command takes, and what it prints."""
    begin = time.perf_counter()
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, capture_output=True, text=True, check=True
    )
    return time.perf_counter() - begin, done.stdout


if __name__ == "__main__":
    main()
