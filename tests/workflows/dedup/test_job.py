"""A job killed at some moment, in a process of its own."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.text.duplicates import edited, random_text
from tests.workflows.deduping import content_of, dedup, write_rows


def test_a_killed_job_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    rng = random.Random(6)
    texts = [random_text(rng, 150) for _ in range(200)]
    texts += [edited(rng.choice(texts), rng, 0.01) for _ in range(200)]
    path = write_rows(tmp_path / "in.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(texts)])
    whole = dedup(tmp_path / "whole", [path], "out", unit_bytes=60_000)
    script = (
        "import sys; from pathlib import Path; from tests.workflows.deduping import dedup;"
        "dedup(Path(sys.argv[1]), [Path(sys.argv[2])], 'out', unit_bytes=60_000)"
    )
    receipts = tmp_path / "killed" / ".out.partial" / ".receipts"
    for wanted in (2, 6):
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "killed"), str(path)])
        while process.poll() is None and len(list(receipts.glob("*.json"))) < wanted:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "killed" / "out").exists()
    dedup(tmp_path / "killed", [path], "out", unit_bytes=60_000)
    assert content_of(tmp_path / "killed" / "out") == whole.content
    assert len(whole.kept) < 230 and not receipts.exists()
