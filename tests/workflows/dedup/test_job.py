"""A job killed at some moment, in a process of its own."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.text.duplicates import edited, random_text
from tests.workflows.deduping import content_of, dedup, write_rows

SCRIPT = (
    "import sys; from pathlib import Path; from tests.workflows.deduping import dedup;"
    "dedup(Path(sys.argv[1]), [Path(sys.argv[2])], 'out', by=sys.argv[3], unit_bytes=60_000)"
)


@pytest.mark.parametrize("by", ["near", "paragraph", "substring"])
def test_a_killed_job_goes_on_to_the_same_bytes_and_does_no_unit_twice(tmp_path: Path, by: str) -> None:
    rng = random.Random(6)
    texts = [random_text(rng, 150) for _ in range(200)]
    texts += [f"{edited(rng.choice(texts), rng, 0.01)}\n\n{random_text(rng, 9)}" for _ in range(100)]
    texts += [f"{rng.choice(texts)}\n\n{random_text(rng, 9)}" for _ in range(100)]
    path = write_rows(tmp_path / "in.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(texts)])
    whole = dedup(tmp_path / "whole", [path], "out", by=by, unit_bytes=60_000)
    receipts = tmp_path / "killed" / ".out.partial" / ".receipts"
    done: dict[str, int] = {}
    for wanted in (2, 6):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path / "killed"), str(path), by])
        while process.poll() is None and len(list(receipts.glob("*.json"))) < wanted:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = {receipt.name: receipt.stat().st_mtime_ns for receipt in receipts.glob("*.json")}
        assert len(now) >= wanted and now.items() >= done.items()
        done = now
    assert not (tmp_path / "killed" / "out").exists()
    dedup(tmp_path / "killed", [path], "out", by=by, unit_bytes=60_000)
    assert content_of(tmp_path / "killed" / "out") == whole.content
    assert len(whole.content) < 0.75 * path.stat().st_size and not receipts.exists()
