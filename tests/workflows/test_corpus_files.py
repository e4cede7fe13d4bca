"""Outputs of clean, dedup and mix: what is a folder, what is refused, what a stopped run goes on with."""

import gzip
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from llmkit.errors import UsageError
from llmkit.formats.streams import open_input
from llmkit.workflows.corpus_files import CorpusFiles, check_places, join_parts, work_folder
from llmkit.workflows.dedup.options import DedupSources
from llmkit.workflows.unit_folder import finish_units, unit_folder


@pytest.mark.parametrize(
    ("name", "is_folder"),
    [
        ("out", True),
        ("out.v2", True),
        ("out.jsonl", False),
        ("out.jsonl.zst", False),
        ("out.ndjson.gz", False),
        ("-", False),
        ("there", True),
        ("/dev/null", False),
    ],
)
def test_a_name_without_jsonl_is_a_folder_unless_something_else_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_folder: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    assert CorpusFiles(out=Path(name)).is_folder is is_folder
    assert not CorpusFiles().is_folder


@pytest.mark.parametrize("name", ["out.json", "out.parquet", "out.TXT", "out.jsonl.bz2", "out.zst"])
def test_the_name_of_another_kind_of_file_makes_no_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="documents are written as") as caught:
        check_places(CorpusFiles(out=tmp_path / name), [])
    assert f"-o {tmp_path / 'out'}.jsonl writes one file" in caught.value.hint
    (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match="already exists"):
        check_places(CorpusFiles(out=tmp_path / name), [])
    check_places(CorpusFiles(out=tmp_path / name, force=True), [])


@pytest.mark.parametrize(
    "places",
    [
        {"out": "x.jsonl", "rejects": "x.jsonl"},
        {"out": "x.jsonl", "report": "x.jsonl"},
        {"rejects": "x.json", "report": "x.json"},
        {"out": "x", "rejects": "x/rejects.jsonl"},
    ],
)
def test_two_outputs_in_one_place_are_refused(tmp_path: Path, places: dict[str, str]) -> None:
    paths = {name: tmp_path / place for name, place in places.items()}
    with pytest.raises(UsageError, match="in one place"):
        check_places(CorpusFiles(**paths), [])  # type: ignore[arg-type]


def test_an_output_that_is_there_or_is_an_input_and_stdin_for_a_folder_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.touch()
    with pytest.raises(UsageError, match="already exists"):
        check_places(CorpusFiles(out=path), [])
    check_places(CorpusFiles(out=path, force=True), [])
    with pytest.raises(UsageError, match="also an input"):
        check_places(CorpusFiles(rejects=path, force=True), [path])
    with pytest.raises(UsageError, match="stdin: documents from a pipe") as caught:
        check_places(CorpusFiles(out=tmp_path / "out"), [Path("-")])
    assert caught.value.hint == f"-o {tmp_path / 'out'}.jsonl.zst writes one file"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="documents from a pipe"):
        check_places(CorpusFiles(out=tmp_path / "out"), [tmp_path / "pipe"])
    check_places(CorpusFiles(out=Path("-"), rejects=tmp_path / "rejects.jsonl"), [Path("-")])


@pytest.mark.parametrize("out", [None, Path("-")])
def test_stdout_takes_records_of_one_kind_and_no_report_beside_them(tmp_path: Path, out: Path | None) -> None:
    stdout, file = Path("-"), tmp_path / "out.jsonl"
    for files in (
        CorpusFiles(out=out, rejects=stdout),
        DedupSources(inputs=(), out=out, clusters=stdout),
        DedupSources(inputs=(), out=file, rejects=stdout, clusters=stdout),
    ):
        with pytest.raises(UsageError, match="in one place"):
            check_places(files, [])
    for files in (CorpusFiles(out=file, report=stdout), DedupSources(inputs=(), out=file, save_index=stdout)):
        with pytest.raises(UsageError, match="needs a name"):
            check_places(files, [])
    check_places(CorpusFiles(out=file, rejects=stdout), [])
    assert CorpusFiles(out=out).is_piped and CorpusFiles(out=file, rejects=stdout).is_piped
    assert not CorpusFiles(out=file, rejects=tmp_path / "rejects.jsonl").is_piped


def test_what_a_run_wrote_beside_its_folder_before_a_kill_is_its_own_and_what_others_wrote_is_not(
    tmp_path: Path,
) -> None:
    files = CorpusFiles(out=tmp_path / "out", rejects=tmp_path / "rejects.jsonl")
    assert files.out is not None and files.rejects is not None

    def killed(folder: Path) -> None:
        files.rejects.touch()  # type: ignore[union-attr]
        raise MemoryError

    with unit_folder(files.out, "f"):
        pass
    with pytest.raises(MemoryError):
        finish_units(files.out, [], "f", killed, beside=[files.rejects])
    check_places(files, [])
    theirs = tmp_path / "theirs.jsonl"
    theirs.touch()
    for others in ({"rejects": theirs}, {"report": theirs}):
        with pytest.raises(UsageError, match=r"theirs\.jsonl: already exists"):
            check_places(replace(files, **others), [])
    files.out.mkdir()
    with pytest.raises(UsageError, match="out: already exists"):
        check_places(files, [])
    files.out.rmdir()
    with unit_folder(files.out, "another job"):
        pass
    with pytest.raises(UsageError, match=r"rejects\.jsonl: already exists"):
        check_places(files, [])


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_parts_are_read_as_one_file(tmp_path: Path, suffix: str) -> None:
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}[suffix]
    parts = [tmp_path / name for name in "ab"]
    for part in parts:
        part.write_bytes(pack(part.name.encode() + b"\n"))
    joined = tmp_path / f"joined{suffix}"
    with joined.open("wb") as out:
        join_parts(parts, out)
    with open_input(joined) as stream:
        assert stream.read() == b"a\nb\n"


def test_a_folder_to_work_in_stands_beside_the_output_and_goes_whatever_happens(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), work_folder(tmp_path / "new" / "out.jsonl", "dedup") as folder:
        assert folder.parent == tmp_path / "new" and folder.is_dir()
        raise RuntimeError
    assert list((tmp_path / "new").iterdir()) == []
    with work_folder(None, "mix") as folder:
        assert folder.is_dir() and folder.parent != tmp_path


def test_what_a_dead_process_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for process in (ended.pid, 1):
        (tmp_path / f".out.jsonl.dedup-{process}").mkdir()
    with work_folder(tmp_path / "out.jsonl", "dedup"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".out.jsonl.dedup-1"]
