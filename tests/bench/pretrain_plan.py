"""What `pretrain --dry-run` says a run takes, beside what it took: peak memory, and seconds of a step.

    python tests/bench/pretrain_plan.py --steps 8 --rounds 3
    python tests/bench/pretrain_plan.py --cases 40M --dtypes bfloat16 --threads 1

Each round of a case is two processes of their own: the plan (`--dry-run --calibrate --json`), then a run on
random rows. Memory is the process's own peak (VmHWM), as the run reports it; the largest of the rounds. A
step's seconds are the median of the run's without its first; what they are off by is the median over rounds.
The share of a step that was spent waiting for rows is `loader_seconds` of the same steps.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

CASES: dict[str, list[str]] = {
    "1M": ["--preset", "tiny"],
    "10M": ["--preset", "small", "--num-hidden-layers", "10"],
    "40M": ["--preset", "medium", "--num-hidden-layers", "12"],
    "gpt2-10M": [
        *("--preset", "gpt2", "--hidden-size", "320", "--num-hidden-layers", "6"),
        *("--num-attention-heads", "5", "--intermediate-size", "1280"),
    ],
    "gpt2-92M": ["--preset", "gpt2"],
}
VOCAB = 8192
SEQ_LEN = 256
ROWS = 512


def main() -> None:
    """Print a row of a Markdown table for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--extra", default="", help="more flags for both, in one string")
    given = parser.parse_args()
    print("| shape | arithmetic | memory said | held | off | step said | took | off | rows waited for |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    with TemporaryDirectory() as scratch:
        shards = pack(Path(scratch))
        for case in given.cases.split(","):
            for dtype in given.dtypes.split(","):
                flags = [
                    *CASES[case],
                    "--vocab-size",
                    str(VOCAB),
                    "--steps",
                    str(given.steps),
                    "--checkpoint-every",
                    "1000000",
                ]
                flags += [
                    "--dtype",
                    dtype,
                    "--threads",
                    str(given.threads),
                    "--device",
                    "cpu",
                    *given.extra.split(),
                ]
                outs = [Path(scratch) / f"{case}-{dtype}-{number}" for number in range(given.rounds)]
                rounds = [measure(shards, flags, out) for out in outs]
                print(table_row(case, dtype, rounds), flush=True)


def pack(folder: Path) -> Path:
    """Random ids as a shard folder."""
    ids = np.random.default_rng(0).integers(0, VOCAB, (ROWS, SEQ_LEN + 1))
    documents = folder / "documents.jsonl"
    documents.write_text(
        "".join(json.dumps({"id": str(n), "tokens": row.tolist()}) + "\n" for n, row in enumerate(ids))
    )
    llmkit("pack", str(documents), "-o", str(folder / "shards"), "--seq-len", str(SEQ_LEN))
    return folder / "shards"


class Round(NamedTuple):
    """What was said and what came of it: bytes, and seconds of a step."""

    said_bytes: int
    held_bytes: int
    said_seconds: float
    took_seconds: float
    waited_seconds: float


def measure(shards: Path, flags: Sequence[str], out: Path) -> Round:
    """A plan and a run."""
    line = ["pretrain", "--data", str(shards), "-o", str(out), *flags, "--json"]
    plan = llmkit(*line, "--dry-run", "--calibrate")
    report = llmkit(*line)
    steps = [one for one in map(json.loads, (out / "metrics.jsonl").open()) if "loss" in one]
    took = statistics.median(plan["batch_tokens"] / one["tokens_per_second"] for one in steps[1:])
    waited = statistics.median(one["loader_seconds"] for one in steps[1:])
    return Round(plan["memory_bytes"], report["memory_bytes"], plan["step_seconds"], took, waited)


def table_row(case: str, dtype: str, rounds: Sequence[Round]) -> str:
    """A line of the table."""
    said, held = rounds[0].said_bytes, max(one.held_bytes for one in rounds)
    off = statistics.median(one.said_seconds / one.took_seconds - 1 for one in rounds)
    waited = statistics.median(one.waited_seconds / one.took_seconds for one in rounds)
    cells = [
        *(case, dtype, f"{said / 2**20:,.0f} MiB", f"{held / 2**20:,.0f} MiB", f"{said / held - 1:+.1%}"),
        f"{statistics.median(one.said_seconds for one in rounds) * 1e3:,.0f} ms",
        f"{statistics.median(one.took_seconds for one in rounds) * 1e3:,.0f} ms",
        *(f"{off:+.1%}", f"{waited:.2%}"),
    ]
    return f"| {' | '.join(cells)} |"


def llmkit(*line: str) -> dict[str, Any]:
    """Run a command; its JSON report, where it gives one."""
    done = subprocess.run([sys.executable, "-m", "llmkit", *line], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"llmkit {' '.join(line)}\n{done.stderr}")
    return json.loads(done.stdout) if done.stdout.startswith("{") else {}


if __name__ == "__main__":
    main()
