"""Folders of parts: the same bytes however and by whom they are made, killed or not, in whatever order."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmkit.errors import DataError, GateFailed, UsageError
from llmkit.formats.digest import digest_path
from llmkit.formats.documents import read_documents
from llmkit.formats.provenance import Invocation, read_provenance
from llmkit.formats.resumable import partial_path
from llmkit.workflows.clean import folder as module
from llmkit.workflows.clean.options import CleanFiles
from llmkit.workflows.clean.tally import Tally
from tests.workflows.cleaning import SETTINGS, decompressed, rows_of, write_inputs


def run(files: CleanFiles, check: Any = lambda tally: None, **settings: Any) -> tuple[Tally, bool]:
    changed = msgspec.structs.replace(SETTINGS, rejects=files.rejects is not None, **settings)
    names = [path.name for path in files.inputs]
    invocation = Invocation("clean", {"inputs": names, "pii": "drop"}, (*names, "--pii", "drop"))
    return module.clean_folder(files, changed, list(files.inputs), check, invocation=invocation)


def test_a_part_for_each_file_in_the_order_of_their_names_and_all_documents_in_them(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "in")
    out, rejects = tmp_path / "out", tmp_path / "rejects.jsonl.zst"
    tally, is_whole = run(CleanFiles(inputs, out=out, rejects=rejects))
    assert is_whole and tally.documents == 241 and tally.kept == 6 * 26
    assert sorted(path.name for path in out.iterdir()) == [
        "llmkit.json",
        *(f"part-{number:05d}.jsonl.zst" for number in range(6)),
    ]
    rows = [row for name in "abcdef" for row in rows_of(name)]
    parts = sorted(out.glob("part-*"))
    assert [document.id for document in read_documents(parts)] == [row["id"] for row in rows if row["n"] % 3]
    rejected = [json.loads(line) for line in decompressed(rejects).splitlines()]
    assert [row["id"] for row in rejected if "id" in row] == [row["id"] for row in rows if row["n"] % 3 == 0]
    assert len(rejected) == tally.documents - tally.kept
    record = read_provenance(out)
    assert record is not None
    assert list(record["inputs"]) == [path.name for path in inputs]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_workers_shards_and_the_order_of_the_inputs_change_no_byte(tmp_path: Path, suffix: str) -> None:
    inputs = write_inputs(tmp_path / "in")
    shuffled = random.Random(1).sample(inputs, len(inputs))
    ways: list[dict[str, Any]] = [{}, {"workers": 2}]
    if suffix == ".jsonl":
        ways.append({"workers": 7})
    digests = set()
    for number, way in enumerate(ways):
        out, rejects = tmp_path / f"out{number}", tmp_path / f"rejects{number}{suffix}"
        run(CleanFiles(inputs if number % 2 else shuffled, out=out, rejects=rejects, **way))
        digests.add((digest_path(out), digest_path(rejects)))
    out, rejects = tmp_path / "shards", tmp_path / f"shards{suffix}"
    done = [run(CleanFiles(inputs, out=out, rejects=rejects, shard=f"{index}/3")) for index in (3, 1, 2)]
    assert [is_whole for _, is_whole in done] == [False, False, True]
    assert [tally.documents for tally, _ in done] == [80, 81, 241]  # the last counts them all
    digests.add((digest_path(out), digest_path(rejects)))
    assert len(digests) == 1


@pytest.mark.filterwarnings("default")  # ray's own
def test_ray_changes_no_byte(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    inputs = write_inputs(tmp_path / "in", "abc")
    run(CleanFiles(inputs, out=tmp_path / "one"))
    run(CleanFiles(inputs, out=tmp_path / "two", workers=2, executor="ray"))
    assert digest_path(tmp_path / "one") == digest_path(tmp_path / "two")


def test_ranges_of_a_large_file_are_units_and_rejects_name_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = module.split_inputs
    monkeypatch.setattr(module, "split_inputs", lambda paths, **how: split(paths, unit_bytes=1500, **how))
    inputs = write_inputs(tmp_path / "in", "a")
    tally, _ = run(CleanFiles(inputs, out=tmp_path / "out", rejects=tmp_path / "rejects.jsonl"))
    assert len(list((tmp_path / "out").glob("part-*"))) > 3 and tally.documents == 41
    lines = inputs[0].read_bytes().splitlines()
    for line in (tmp_path / "rejects.jsonl").read_bytes().splitlines():
        row = json.loads(line)
        why = row.pop("_reject")
        assert why["file"] == str(inputs[0])
        content = lines[why["line"] - 1]
        assert content.decode() == row["_line"] if "_line" in row else json.loads(content) == row


def test_small_texts_share_a_unit(tmp_path: Path) -> None:
    inputs = [tmp_path / f"{n}.txt" for n in range(20)]
    for path in inputs:
        path.write_text(path.name)
    run(CleanFiles(inputs, out=tmp_path / "out"))
    (part,) = (tmp_path / "out").glob("part-*")
    assert len(list(read_documents([part]))) == 20


def test_finished_units_are_not_done_again_after_an_error(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "in", "abc")
    good = inputs[2].read_bytes()
    inputs[2].write_bytes(good + b"nonsense\n")
    out = tmp_path / "out"
    settings = {"keep_bad": False}
    inputs[0].write_bytes(inputs[0].read_bytes().replace(b"no json at all\n", b""))
    with pytest.raises(DataError, match=r"c\.jsonl:41"):
        run(CleanFiles(inputs, out=out), **settings)
    assert not out.exists()
    parts = partial_path(out)
    before = {path.name: path.stat().st_mtime_ns for path in parts.glob("part-*")}
    assert set(before) == {"part-00000.jsonl.zst", "part-00001.jsonl.zst"}


def test_a_folder_that_was_killed_at_any_moment_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "in", "abcdefgh", count=400)
    run(CleanFiles(inputs, out=tmp_path / "whole", rejects=tmp_path / "whole.jsonl"))
    code = (
        "from pathlib import Path; import sys; sys.path.insert(0, sys.argv[1]);"
        "import tests.workflows.clean.test_folder as t;"
        "t.run(t.CleanFiles([Path(p) for p in sys.argv[4:]], out=Path(sys.argv[2]),"
        " rejects=Path(sys.argv[3]), workers=2))"
    )
    out, rejects = tmp_path / "out", tmp_path / "rejects.jsonl"
    words = [
        sys.executable,
        "-c",
        code,
        str(Path(__file__).parent),
        str(out),
        str(rejects),
        *map(str, inputs),
    ]
    redone = 0
    for moment in (1, 4):  # receipts that are there when it is killed
        process = subprocess.Popen(words, start_new_session=True, stderr=subprocess.DEVNULL)
        receipts = partial_path(out) / ".receipts"
        while process.poll() is None and len(list(receipts.glob("*.json"))) < moment:
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        done = {path.name: path.stat().st_mtime_ns for path in receipts.glob("*.json")}
        redone += len(done)
    assert redone and not out.exists()
    run(CleanFiles(inputs, out=out, rejects=rejects))
    assert digest_path(out) == digest_path(tmp_path / "whole")
    assert rejects.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("in", "out", "rejects.jsonl", "whole", "whole.jsonl"),
    ]


def test_rejects_written_before_a_kill_are_no_reason_to_refuse_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = write_inputs(tmp_path / "in", "ab")
    files = CleanFiles(inputs, out=tmp_path / "out", rejects=tmp_path / "rejects.jsonl")

    def killed(*arguments: object, **others: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "write_provenance", killed)
        run(files)
    assert files.rejects is not None and files.rejects.exists() and not (tmp_path / "out").exists()
    assert run(files)[1]


def test_a_check_that_stops_the_run_keeps_units_and_makes_no_folder(tmp_path: Path) -> None:
    def stop(tally: Tally) -> None:
        if tally.documents > 50:
            raise GateFailed("enough", hint="")

    files = CleanFiles(write_inputs(tmp_path / "in", "abc"), out=tmp_path / "out")
    with pytest.raises(GateFailed):
        run(files, stop)
    assert not (tmp_path / "out").exists()
    assert len(list((partial_path(tmp_path / "out") / ".receipts").iterdir())) == 2
    assert run(files)[1]


def test_what_cannot_be_a_folder_of_parts_is_refused(tmp_path: Path) -> None:
    (path,) = write_inputs(tmp_path / "in", "a")
    with pytest.raises(UsageError, match="stdin: documents from a pipe"):
        run(CleanFiles([Path("-")], out=tmp_path / "out"))
    with pytest.raises(UsageError, match="holds the input"):
        run(CleanFiles([path], out=tmp_path / "in", force=True))
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="already exists"):
        run(CleanFiles([path], out=tmp_path / "out"))
    assert run(CleanFiles([path], out=tmp_path / "out", force=True))[1]
