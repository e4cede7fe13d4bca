"""Records that come and stay: whole or absent, and continued."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import DataError, StoppedResumable, UsageError
from llmkit.workflows.eval.records import check_records, inputs_told, open_records


def _stop_after(
    path: Path, count: int, settings: object = "a", error: type[BaseException] = KeyboardInterrupt
) -> None:
    with open_records(path, settings) as records:
        for index in range(3):
            if index == count:
                raise error
            if index not in records.done:
                records.write({"index": index, "id": f"r{index}"})


def test_a_run_that_ends_has_a_file_of_its_records_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    _stop_after(path, 9)
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["r0", "r1", "r2"]
    assert {one.name for one in tmp_path.iterdir()} == {"r.jsonl", ".r.jsonl.done"}


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.zst"])
def test_a_run_that_has_ended_is_there_whole_for_the_same_line_and_in_the_way_of_any_other(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    _stop_after(path, 9)
    content = path.read_bytes()
    with open_records(path, "a") as records:
        assert [records.done[index]["id"] for index in range(3)] == ["r0", "r1", "r2"] and records.kept == 3
        assert "whole already" in str(records.notes)
        records.check_all_read(3)
        with pytest.raises(DataError, match="without record 3 of the input"):
            records.write({"index": 3, "id": "r3"})
    with pytest.raises(UsageError, match="already exists"), open_records(path, "b"):
        pass
    assert path.read_bytes() == content and not (tmp_path / f"{name}.partial").exists()
    with open_records(path, "a", force=True) as records:
        assert not records.done


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])  # Ctrl-C, SIGTERM
def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "r.jsonl"
    with pytest.raises(StoppedResumable, match="kept"):
        _stop_after(path, 2, error=error)
    assert not path.exists()
    partial = tmp_path / "r.jsonl.partial"
    partial.write_bytes(partial.read_bytes() + b'{"index": 2, "i')  # torn off
    with open_records(path, "a") as records:
        assert sorted(records.done) == [0, 1] and "2 records" in str(records.notes)
        records.write({"index": 2, "id": "new"})
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["r0", "r1", "new"]


def test_what_an_earlier_run_left_is_of_the_same_prompt_or_refused(tmp_path: Path) -> None:
    told = {"index": 3, "prompt_sha256": "ab"}
    with pytest.raises(StoppedResumable), open_records(tmp_path / "r", "a") as records:
        records.write(told)
        raise KeyboardInterrupt
    with open_records(tmp_path / "r", "a") as records:
        assert records.earlier(3, "ab", "task 3") == told
        with pytest.raises(DataError, match="task 3 is another than in the interrupted run"):
            records.earlier(3, "cd", "task 3")


def test_an_interrupted_run_of_more_inputs_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoppedResumable):
        _stop_after(tmp_path / "r", 2)
    with open_records(tmp_path / "r", "a") as records:
        records.check_all_read(2)
        with pytest.raises(DataError, match="the input ends after 1 record,"):
            records.check_all_read(1)


def test_another_error_keeps_what_is_done_too_and_is_not_changed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        _stop_after(tmp_path / "r", 1, error=ZeroDivisionError)
    with open_records(tmp_path / "r", "a") as records:
        assert sorted(records.done) == [0]


def test_a_run_that_did_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _stop_after(tmp_path / "r", 0)
    assert list(tmp_path.iterdir()) == []


def test_other_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoppedResumable):
        _stop_after(tmp_path / "r", 1)
    with pytest.raises(DataError, match="other settings"):
        _stop_after(tmp_path / "r", 3, settings="b")


@pytest.mark.parametrize("content", [b"[]\n", b'{"schema": "x"}\n', b"no\n"])
def test_a_file_that_is_no_interrupted_run_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.partial").write_bytes(content)
    with pytest.raises(DataError, match=r"r\.partial"), open_records(tmp_path / "r", "a"):
        pass


def test_a_second_run_at_the_same_time_is_refused(tmp_path: Path) -> None:
    with open_records(tmp_path / "r", "a"), pytest.raises(UsageError, match="another run"):
        open_records(tmp_path / "r", "a").__enter__()


def test_who_comes_when_a_run_ends_writes_a_file_of_its_own(
    tmp_path: Path, before_lock: Callable[[Callable[[], object]], None]
) -> None:
    path = tmp_path / "r"
    with pytest.raises(StoppedResumable):
        _stop_after(path, 2)
    before_lock(lambda: _stop_after(path, 9))  # its lines are in `r` by then, and `r.partial` is gone
    with open_records(path, "a", force=True) as records:
        assert records.done == {}
        with pytest.raises(UsageError, match="another run"):
            open_records(path, "a", force=True).__enter__()
        records.write({"index": 0, "id": "new"})
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["new"]
    assert {one.name for one in tmp_path.iterdir()} == {"r", ".r.done"}


def test_nowhere_is_a_place_and_stdout_is_none(tmp_path: Path) -> None:
    with open_records(None, "a") as records:
        records.write({"index": 0})
        assert records.done == {}
    with pytest.raises(UsageError, match="stdout"):
        check_records(Path("-"), force=False, inputs=[])
    (tmp_path / "r").touch()
    with pytest.raises(UsageError, match="already exists"):
        check_records(tmp_path / "r", force=False, inputs=[])


def test_inputs_are_told_apart_by_name_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one")
    before = inputs_told([file, Path("-")])
    assert before[1] == ("-", 0, 0)
    file.write_text("other")
    assert inputs_told([file, Path("-")])[0] != before[0]
