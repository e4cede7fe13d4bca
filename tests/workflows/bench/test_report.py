"""Baselines: read, compared, refused."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from llmkit.errors import DataError, GateFailed, MissingError, ResourceError
from llmkit.probe.bench import BenchReport, BenchRow
from llmkit.probe.environment import Environment
from llmkit.workflows.bench.report import check_baseline, check_comparable, read_report, refuse_busy

ROW = BenchRow("llmkit tokens=8", 100.0, None, 1.0, 0.01, 1.0, None, None)
REPORT = BenchReport("decode", {"shape_sha256": "a"}, Environment("c", 2, "3", {}, 0.1), None, [ROW])
FIRST = {  # a report of the version before rows had points of a sweep
    "bench": "tokenize",
    "work": {"documents": 1},
    "environment": {"cpu": "c", "cores": 2, "python": "3", "versions": {}, "load_average": 0.1},
    "noisy": None,
    "rows": [
        {
            "name": "llmkit to arrays",
            **{"tokens_per_second": 1.0, "bytes_per_second": 1.0, "median_seconds": 1.0, "spread": 0.0},
            **{"cpu_seconds": 1.0, "ratio": 1.0, "cpu_ratio": 1.0, "seconds": [1.0]},
        }
    ],
    "schema": "llmkit.bench/1",
}


def _written(path: Path, report: object) -> Path:
    path.write_bytes(msgspec.json.encode(report))
    return path


def test_a_report_reads_back_as_it_was(tmp_path: Path) -> None:
    assert read_report(_written(tmp_path / "b.json", REPORT)) == REPORT


def test_a_report_of_the_first_version_is_still_read(tmp_path: Path) -> None:
    (row,) = read_report(_written(tmp_path / "b.json", FIRST)).rows
    assert (row.engine, row.case, row.mbu, row.ratio) == ("llmkit", {}, None, 1.0)


def test_a_faster_baseline_fails_the_gate_and_an_equal_one_does_not(tmp_path: Path) -> None:
    path = _written(tmp_path / "b.json", REPORT)
    assert check_baseline(REPORT, path, 0.1) == []
    slow = replace(REPORT, rows=[replace(ROW, tokens_per_second=80.0)])
    with pytest.raises(GateFailed, match=r"tokens=8: 80 tokens/s, was 100 \(-20%\)"):
        check_baseline(slow, path, 0.1)


def test_rows_that_were_compared_with_nothing_are_named(tmp_path: Path) -> None:
    both = replace(REPORT, rows=[ROW, replace(ROW, name="llmkit tokens=9")])
    assert check_baseline(both, _written(tmp_path / "b.json", REPORT), 0.1) == ["llmkit tokens=9"]


@pytest.mark.parametrize(
    ("bench", "shape", "name"),
    [("prefill", "a", ROW.name), ("decode", "b", ROW.name), ("decode", "a", "llmkit tokens=9")],
)
def test_another_bench_model_or_sweep_is_refused_before_any_work(
    tmp_path: Path, bench: str, shape: str, name: str
) -> None:
    path = _written(tmp_path / "b.json", REPORT)
    check_comparable(path, "decode", {"shape_sha256": "a"}, [ROW.name])
    with pytest.raises(DataError, match=r"b\.json: this "):
        check_comparable(path, bench, {"shape_sha256": shape}, [name])


def test_what_is_no_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        read_report(tmp_path / "none")
    with pytest.raises(DataError, match="not a report"):
        read_report(_written(tmp_path / "other.json", {"a": 1}))


def test_a_busy_machine_is_refused_only_where_quiet_is_asked_for() -> None:
    busy = replace(REPORT.environment, load_average=9.0)
    refuse_busy(busy, False)
    refuse_busy(REPORT.environment, True)
    with pytest.raises(ResourceError, match=r"load average 9\.0"):
        refuse_busy(busy, True)
