"""A load beside an earlier one: what counts as slower, and what cannot be compared."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from llmkit.errors import DataError, GateFailed, MissingError
from llmkit.probe.environment import read_environment
from llmkit.probe.load_rows import LoadRow, Percentiles
from llmkit.workflows.bench.load_baseline import check_load, read_load
from llmkit.workflows.bench.serve import PROMPTS, BenchServeReport

ROW = LoadRow(
    kind="short", requests=10, failed=0, errors={}, seconds=2.0, requests_per_second=5.0,
    tokens_per_second=100.0, prompt_tokens_per_second=50.0, prompt_tokens=100, cached_tokens=0,
    completion_tokens=200, first_token=Percentiles(0.1, 0.2, 0.3),
    between_tokens=Percentiles(0.01, 0.02, 0.03), whole=Percentiles(1.0, 2.0, 3.0), goodput_per_second=None,
)  # fmt: skip
THEN = BenchServeReport(work={"model": "m", "seed": 0}, environment=read_environment("httpx"), rows=[ROW])


def _now(**changes: object) -> BenchServeReport:
    return replace(THEN, rows=[replace(ROW, **changes)])  # type: ignore[arg-type]


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_bytes(msgspec.json.encode(THEN))
    assert read_load(path) == THEN
    path.write_text('{"rows": 1}')
    with pytest.raises(DataError, match="not a report of llmkit bench serve"):
        read_load(path)
    with pytest.raises(MissingError, match="no such file"):
        read_load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tokens_per_second": 89.0}, "short: 89 tokens/s, was 100"),
        ({"first_token": Percentiles(0.12, 0.2, 0.3)}, "120 ms to the first text, was 100"),
        ({"between_tokens": Percentiles(0.02, 0.02, 0.03)}, "20 ms between two tokens, was 10"),
        ({"whole": Percentiles(1.2, 2.0, 3.0)}, "for a whole answer"),
    ],
)
def test_each_figure_that_is_worse_by_more_than_is_allowed_fails(
    changes: dict[str, object], says: str
) -> None:
    with pytest.raises(GateFailed, match=says):
        check_load(_now(**changes), THEN, "b.json", 0.1)
    check_load(_now(**changes), THEN, "b.json", 1.5)


def test_what_is_better_or_within_what_is_allowed_passes() -> None:
    check_load(_now(tokens_per_second=91.0, first_token=Percentiles(0.109, 9.0, 9.0)), THEN, "b.json", 0.1)
    check_load(_now(tokens_per_second=300.0, first_token=None), THEN, "b.json", 0.0)
    check_load(_now(kind="long", tokens_per_second=1.0), THEN, "b.json", 0.0)


def test_a_time_may_be_as_much_longer_as_a_lower_rate_makes_it() -> None:
    check_load(_now(first_token=Percentiles(0.111, 0.2, 0.3)), THEN, "b.json", 0.1)  # 0.1 s over nine tenths
    with pytest.raises(GateFailed, match="112 ms to the first text"):
        check_load(_now(first_token=Percentiles(0.112, 0.2, 0.3)), THEN, "b.json", 0.1)
    check_load(_now(first_token=Percentiles(9.0, 9.0, 9.0)), THEN, "b.json", 0.99)


def test_another_load_is_not_compared() -> None:
    with pytest.raises(DataError, match=r"another load \(seed 0, now 1"):
        check_load(replace(THEN, work={"model": "m", "seed": 1}), THEN, "b.json", 0.1)
    others = [replace(THEN, work={"model": "m", PROMPTS: digest}) for digest in ("a" * 64, None)]
    for now, then in (others, reversed(others)):
        with pytest.raises(DataError, match=r"^b.json: another load \(other prompts\)$"):
            check_load(now, then, "b.json", 0.1)


def test_a_baseline_that_does_not_say_all_of_its_load_is_not_compared() -> None:
    with pytest.raises(DataError, match="does not say whether it is of another load \\(no chat\\)"):
        check_load(replace(THEN, work={**THEN.work, "chat": None}), THEN, "b.json", 0.1)
