"""kill -9 of a random process of a run at a random moment, again and again: the weights are those of no kill.

    python tests/bench/kill_ranks.py SHARDS TOKENIZER --trials 20 --nproc 2 [-- --fsdp 2]

SHARDS is a folder of `llmkit pack`, and everything behind `--` goes to `llmkit pretrain`.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

COMMAND = [sys.executable, "-m", "llmkit", "pretrain"]


def main() -> None:
    """Run straight once; then killed and gone on with, trial by trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--nproc", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    own, _, more = " ".join(sys.argv[1:]).partition(" -- ")
    given = parser.parse_args(own.split())
    random.seed(given.seed)
    line = [
        *(*COMMAND, "--data", str(given.shards), "-t", str(given.tokenizer), "--nproc", str(given.nproc)),
        *("--steps", str(given.steps), "--checkpoint-every", "5", "--batch-rows", "8", "-q", *more.split()),
    ]
    failed = 0
    with TemporaryDirectory() as folder:
        straight = Path(folder) / "straight"
        begun = time.monotonic()
        subprocess.run([*line, "-o", str(straight)], check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - begun
        expected = (straight / "model.safetensors").read_bytes()
        for trial in range(given.trials):
            out = Path(folder) / f"trial-{trial}"
            killed = killed_at_random([*line, "-o", str(out)], given.nproc, seconds)
            subprocess.run([*line, "-o", str(out)], check=True, stdout=subprocess.DEVNULL)
            same = (out / "model.safetensors").read_bytes() == expected
            failed += not same
            print(f"{trial}: {killed}: {'the same weights' if same else 'OTHER WEIGHTS'}", flush=True)
    print(f"{given.trials - failed} of {given.trials} ended with the weights of an uninterrupted run")
    sys.exit(failed > 0)


def killed_at_random(line: list[str], nproc: int, seconds: float) -> str:
    """Start a run, kill one of its processes somewhere in it, and say which and when."""
    run = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait = random.uniform(0.3, 0.95) * seconds
    time.sleep(wait)
    workers = children_of(run.pid)
    if len(workers) < nproc:
        run.wait()
        return f"ended before {wait:.1f} s, status {run.returncode}"
    rank = random.randrange(nproc)
    os.kill(workers[rank], signal.SIGKILL)
    status = run.wait()
    steps = sorted(path.name for path in Path(line[-1]).glob("checkpoints/step-*"))
    return (
        f"process {rank} killed after {wait:.1f} s at {steps[-1] if steps else 'the start'}, status {status}"
    )


def children_of(pid: int) -> list[int]:
    """The processes that a process started, oldest first."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


if __name__ == "__main__":
    main()
