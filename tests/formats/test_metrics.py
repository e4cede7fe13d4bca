"""Metrics files: appended line by line, cut back to a step when a run goes on from there."""

import errno
import io
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from llmkit.formats.metrics import MetricsWriter, begin_alike, cut_metrics, holds_metrics, told_number


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_line_is_in_the_file_as_soon_as_it_is_written(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path / "m.jsonl") as metrics:
        metrics.write({"step": 1, "loss": 2.5})
        assert read(tmp_path / "m.jsonl") == [{"step": 1, "loss": 2.5}]


def test_a_loss_that_is_not_finite_is_null(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path / "m.jsonl") as metrics:
        metrics.write({"step": 1, "loss": math.nan})
    assert read(tmp_path / "m.jsonl") == [{"step": 1, "loss": None}]


def test_cutting_drops_later_steps_the_stop_and_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    kept = [{"event": "start", "step": 0}, {"step": 1, "loss": 3.0}, {"event": "eval", "step": 1}]
    gone = [{"event": "stop", "step": 1}, {"step": 2, "loss": 2.0}, {"event": "checkpoint", "step": 2}]
    path.write_text("".join(json.dumps(record) + "\n" for record in kept + gone) + '{"step": 3, "lo')
    assert cut_metrics(path, 1) == kept
    assert read(path) == kept


def test_there_may_be_nothing_to_cut(tmp_path: Path) -> None:
    assert cut_metrics(tmp_path / "absent.jsonl", 3) == []


def test_a_reader_that_leaves_a_pipe_does_not_end_the_writing(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with MetricsWriter(pipe) as metrics:
        metrics.write({"step": 1})
        os.close(reader)
        metrics.write({"step": 2})
        metrics.write({"step": 3})
        metrics.sync()


def test_a_file_holds_metrics_when_every_whole_line_has_a_step(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    for content, expected in (
        ("", True),
        ('{"step": 1, "loss": 3.0}\n{"event": "stop", "step": 1}\n{"step": 2, "lo', True),
        ("notes\nmore notes\n", False),
        ('{"step": 1}\n{"text": "a document"}\n{"step": 2}\n', False),
        ("[1]\n[2]\n", False),
    ):
        path.write_text(content)
        assert holds_metrics(path) is expected, content


def test_what_was_undone_is_taken_back_from_a_file_that_is_still_written(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    with MetricsWriter(path) as metrics:
        for step in (1, 2, 3):
            metrics.write({"step": step, "loss": 4.0 - step})
        metrics.write({"event": "eval", "step": 3})
        undone = [{"step": 2, "loss": 2.0}, {"step": 3, "loss": 1.0}, {"event": "eval", "step": 3}]
        assert metrics.take_back(1) == undone
        metrics.write({"step": 2, "loss": 0.5})
    assert read(path) == [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 0.5}]


def test_a_pipe_gives_nothing_back(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with MetricsWriter(pipe) as metrics:
        metrics.write({"step": 1})
        assert metrics.take_back(0) == []
        metrics.write({"step": 2})
    assert os.read(reader, 1000).count(b"\n") == 2
    os.close(reader)


def test_a_line_that_was_not_cut_short_has_to_be_metrics_also_where_it_is_the_last(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    for content in ("notes of mine\n", "notes of mine", '{"step": 1}\n{"text": "a document"}\n'):
        path.write_text(content)
        assert not holds_metrics(path), content


def test_metrics_begin_alike_where_their_first_records_differ_in_what_was_measured_alone(
    tmp_path: Path,
) -> None:
    path, own = tmp_path / "m.jsonl", tmp_path / "own.jsonl"
    first = {"event": "start", "time_seconds": 0.1, "step": 0, "parameters": 7, "peak_flops_per_second": 5.0}
    path.write_text(json.dumps(first) + "\n" + '{"step": 1}\n')
    assert not begin_alike(path, own)  # there is no run
    for changed, expected in (
        ({}, True),
        ({"time_seconds": 0.2, "peak_flops_per_second": 6.0}, True),
        ({"parameters": 8}, False),
    ):
        own.write_text(json.dumps(first | changed) + "\n")
        assert begin_alike(path, own) is expected, changed
    own.write_text("")
    assert not begin_alike(path, own)
    for cut in ("", '{"event": "sta'):
        path.write_text(cut)
        assert begin_alike(path, own), cut


def test_what_was_not_finite_is_nan_again_and_what_was_not_told_is_nothing() -> None:
    told = told_number({"valid_loss": None}, "valid_loss")
    assert told is not None and math.isnan(told)
    assert (told_number({"loss": 2.5}, "loss"), told_number({}, "loss")) == (2.5, None)


def test_a_device_that_swallows_all_is_written_to_and_never_forced_to_a_disk() -> None:
    with MetricsWriter(Path(os.devnull)) as metrics:
        metrics.write({"step": 1})
        metrics.sync()


class Narrow(io.FileIO):
    """A file that takes a few bytes at once, and no more than there is room for."""

    room = 20

    def write(self, content: Any, /) -> int:
        taken = bytes(content)[: min(7, self.room)]
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= len(taken)
        return super().write(taken)


def test_a_line_that_the_system_takes_in_parts_is_whole_and_a_full_disk_names_the_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "m.jsonl"
    with MetricsWriter(path) as metrics:
        metrics._stream.close()
        metrics._stream = Narrow(path, "a")
        metrics.write({"step": 1, "a": 2})
        assert read(path) == [{"step": 1, "a": 2}]
        with pytest.raises(OSError, match="No space left") as caught:
            metrics.write({"step": 2, "a": 2})
    assert caught.value.filename == str(path)
    assert cut_metrics(path, 1) == [{"step": 1, "a": 2}]
