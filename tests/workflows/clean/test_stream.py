"""Streams: the order of the input, the same bytes from any number of workers, nothing lost on any path."""

import gzip
import json
import os
import signal
from pathlib import Path

import msgspec
import pytest

from llmkit.errors import DataError, GateFailed, UsageError
from llmkit.workflows.clean import input as clean_input
from llmkit.workflows.clean import stream as clean_stream
from llmkit.workflows.clean.options import CleanFiles
from llmkit.workflows.clean.tally import Tally
from tests.workflows.cleaning import BAD, SETTINGS, decompressed, lines_of, rows_of, write_inputs


def run(files: CleanFiles, check: object = lambda tally: None, **settings: object) -> Tally:
    changed = msgspec.structs.replace(SETTINGS, **settings)
    return clean_stream.clean_stream(files, changed, list(files.inputs), check)  # type: ignore[arg-type]


def test_documents_come_out_in_the_order_of_the_input_kept_or_rejected(tmp_path: Path) -> None:
    inputs = list(reversed(write_inputs(tmp_path / "in")))
    files = CleanFiles(inputs, out=tmp_path / "out.jsonl", rejects=tmp_path / "rejects.jsonl.zst")
    tally = run(files)
    rows = [row for name in "fedcba" for row in rows_of(name)]
    kept = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    rejected = [json.loads(line) for line in decompressed(tmp_path / "rejects.jsonl.zst").splitlines()]
    assert kept == [row for row in rows if row["n"] % 3]
    reasons = [row.pop("_reject") for row in rejected]
    assert [row for row in rejected if "_line" not in row] == [row for row in rows if row["n"] % 3 == 0]
    assert [row["_line"] for row in rejected if "_line" in row] == [BAD.decode().strip()]
    assert {why["rule"] for why in reasons} == {"pii", "malformed"}
    sizes = sum(len(decompressed(path).replace(b"\n", b"")) for path in inputs)
    assert (tally.documents, tally.bytes, tally.malformed) == (241, sizes, 1)
    dropped = tally.dropped["pii"]
    assert tally.kept + dropped.documents + tally.malformed == tally.documents
    assert tally.kept_bytes + dropped.bytes + tally.malformed_bytes == tally.bytes


@pytest.mark.parametrize("suffix", [".jsonl.zst", ".jsonl.gz"])
def test_any_number_of_workers_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(clean_input, "BATCH_BYTES", 5000)  # some batches of a file
    inputs = write_inputs(tmp_path / "in", "abc")
    results = set()
    for workers in (1, 2, 7) if suffix == ".jsonl.zst" else (1, 2):
        out, rejects = tmp_path / f"{workers}{suffix}", tmp_path / f"{workers}.rejects.jsonl"
        tally = run(CleanFiles(inputs, out=out, rejects=rejects, workers=workers), report=True)
        results.add((out.read_bytes(), rejects.read_bytes(), msgspec.json.encode(tally)))
    ((content, _, _),) = results
    if suffix == ".jsonl.gz":
        assert len(gzip.decompress(content).splitlines()) == 78


def test_a_malformed_line_stops_the_run_and_leaves_nothing_behind(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "in", "ab")
    for workers in (1, 2):
        files = CleanFiles(inputs, out=tmp_path / "out.jsonl", workers=workers)
        with pytest.raises(DataError, match=r"a\.jsonl:21: not a JSON object"):
            run(files, keep_bad=False, rejects=False)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_check_that_stops_the_run_leaves_an_older_output_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("old")

    def stop(tally: Tally) -> None:
        raise GateFailed("enough", hint="")

    files = CleanFiles(write_inputs(tmp_path / "in", "a"), out=tmp_path / "out.jsonl", force=True)
    with pytest.raises(GateFailed):
        run(files, stop)
    assert (tmp_path / "out.jsonl").read_text() == "old"


def test_a_worker_that_is_killed_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean_input, "BATCH_BYTES", 2000)
    inputs = write_inputs(tmp_path / "in", "abc")
    run(CleanFiles(inputs, out=tmp_path / "one.jsonl"), rejects=False)
    killed = []

    def kill(tally: Tally) -> None:
        if not killed:
            children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
            workers = [c for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]
            os.kill(int(workers[0]), signal.SIGKILL)
            killed.append(workers[0])

    run(CleanFiles(inputs, out=tmp_path / "two.jsonl", workers=2), kill, rejects=False)
    assert killed and (tmp_path / "two.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()


def test_an_output_that_exists_or_is_an_input_is_refused(tmp_path: Path) -> None:
    (path,) = write_inputs(tmp_path, "a")
    with pytest.raises(UsageError, match="also an input"):
        run(CleanFiles([path], out=path, force=True))
    with pytest.raises(UsageError, match="also an input"):
        run(CleanFiles([path], out=tmp_path / "out.jsonl", rejects=path, force=True))
    (tmp_path / "out.jsonl").touch()
    with pytest.raises(UsageError, match="already exists"):
        run(CleanFiles([path], out=tmp_path / "out.jsonl"))


def test_without_a_step_the_output_is_the_input(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines_of("a"))
    run(CleanFiles([path], out=tmp_path / "out.jsonl"), pii=None, rejects=False)
    assert (tmp_path / "out.jsonl").read_bytes() == path.read_bytes()
