"""A mixture that is killed goes on where it was."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.workflows.mix.job import resolve_mix
from llmkit.workflows.mix.options import MixFiles, MixSettings, Source
from tests.workflows.mixing import mix, read_rows, rows_of, write_rows, write_sources


def test_a_killed_job_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    paths = write_sources(tmp_path / "in")
    sources = [f"{name}={path}:1" for name, path in paths.items()]
    mix(sources, tmp_path / "whole", unit_bytes=1500, part_bytes=500)
    script = (
        "import sys; from pathlib import Path; from tests.workflows.mixing import mix;"
        "mix(sys.argv[2:], Path(sys.argv[1]), unit_bytes=1500, part_bytes=500)"
    )
    receipts = tmp_path / ".out.partial" / ".receipts"
    for wanted in (3, 30):
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "out"), *sources])
        while process.poll() is None and len(list(receipts.glob("*.json"))) < wanted:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "out").exists() and len(list(receipts.glob("*.json"))) >= 30
    mix(sources, tmp_path / "out", unit_bytes=1500, part_bytes=500)
    assert not receipts.exists()
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names and len(names) > 10
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_pipes_give_what_the_same_files_give(tmp_path: Path, piped: Callable[[bytes], Path]) -> None:
    files = [write_rows(tmp_path / f"{name}.jsonl", rows_of(name, 20)) for name in ("web", "code")]
    for name, paths in (("files", files), ("pipes", [piped(file.read_bytes()) for file in files])):
        mix([f"s{number}={path}:1" for number, path in enumerate(paths)], tmp_path / f"{name}.jsonl")
    found = [[row["text"] for row in read_rows(tmp_path / f"{name}.jsonl")] for name in ("files", "pipes")]
    assert found[0] == found[1] and len(found[0]) > 10


def test_an_output_folder_that_holds_the_tokenizer_is_refused_even_when_forced(tmp_path: Path) -> None:
    docs, out = tmp_path / "docs.jsonl", tmp_path / "out"
    docs.touch()
    (out / "tok").mkdir(parents=True)
    settings = MixSettings(
        sources=(Source(name="a", path=str(docs)),), by="tokens", tokenizer=str(out / "tok")
    )
    with pytest.raises(UsageError, match="holds the input"):
        resolve_mix(MixFiles(out=out, force=True), settings)
