"""Two results beside each other: pairs found, tests chosen, verdicts given."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError, UsageError
from llmkit.probe.evaluate.compare import mcnemar
from llmkit.probe.evaluate.config import DiffConfig
from llmkit.workflows.eval.diff import DiffReport, eval_diff


def _records(path: Path, values: list[Any], key: str = "correct", ids: list[Any] | None = None) -> Path:
    names = ids or [f"r{n}" for n in range(len(values))]
    rows = [{"index": n, "id": names[n], key: one} for n, one in enumerate(values)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _report(path: Path, value: float, error: float, name: str = "perplexity", **more: Any) -> Path:
    headline = {"name": name, "value": value, "error": error, "better": "lower"}
    path.write_text(json.dumps({"schema": "llmkit.eval.ppl/1", "headline": headline, **more}, indent=1))
    return path


def _diff(a: Path, b: Path, **config: Any) -> DiffReport:
    return eval_diff(a, b, DiffConfig(**config))


def test_right_and_wrong_are_compared_by_mcnemar(tmp_path: Path) -> None:
    before = [True] * 12 + [False] * 8
    after = [True] * 4 + [False] * 8 + [True] + [False] * 7
    found = _diff(_records(tmp_path / "a", before), _records(tmp_path / "b", after))
    table = found.table
    assert table is not None and (table.both_right, table.lost, table.won, table.both_wrong) == (4, 8, 1, 7)
    assert found.p_value == pytest.approx(mcnemar(8, 1)) == pytest.approx(2 * (1 + 9) / 512)
    assert (found.value_a, found.value_b, found.verdict) == (0.6, 0.25, "worse")
    assert found.difference == pytest.approx(-0.35)
    assert found.interval.low < found.difference < found.interval.high < 0
    assert len(found.worst) == 8 and found.worst[0].before == 1 and found.worst[0].after == 0


def test_the_same_change_the_other_way_is_better_and_a_small_one_is_none(tmp_path: Path) -> None:
    a, b = _records(tmp_path / "a", [False] * 10), _records(tmp_path / "b", [True] * 10)
    assert _diff(a, b).verdict == "better"
    assert (
        _diff(
            _records(tmp_path / "c", [True, True, False]), _records(tmp_path / "d", [True, False, False])
        ).verdict
        == "no difference"
    )
    assert _diff(a, a).p_value == 1.0


def test_numbers_are_compared_by_sign_flips_and_lower_is_better_by_name(tmp_path: Path) -> None:
    a = _records(tmp_path / "a", [1.0, 2.0, 3.0, 1.5, 2.5, 1.0], "bits_per_byte")
    b = _records(tmp_path / "b", [1.1, 2.2, 3.1, 1.7, 2.6, 1.3], "bits_per_byte")
    found = _diff(a, b)
    assert (found.metric, found.better, found.verdict) == ("bits_per_byte", "lower", "worse")
    assert found.p_value == pytest.approx(2 / 64) and "all of them" in found.test
    assert _diff(a, b, lower_is_better=False).verdict == "better"
    assert _diff(a, b, alpha=0.01).verdict == "no difference"
    assert found.worst[0].id == "r5"


def test_one_record_has_no_interval_as_it_says_nothing_of_others(tmp_path: Path) -> None:
    a, b = _records(tmp_path / "a", [1.0], "nll_per_token"), _records(tmp_path / "b", [1.5], "nll_per_token")
    found = _diff(a, b)
    assert (found.difference, found.interval, found.headline.error) == (0.5, None, None)
    assert found.verdict == "no difference"


def test_records_are_paired_by_id_whatever_their_order(tmp_path: Path) -> None:
    a = _records(tmp_path / "a", [1.0, 2.0], "score", ["x", "y"])
    b = _records(tmp_path / "b", [2.0, 1.0], "score", ["y", "x"])
    assert _diff(a, b).difference == 0
    twice = _records(tmp_path / "c", [1.0, 2.0], "score", ["x", "x"])  # ids that say nothing: by place
    assert _diff(twice, twice).records == 2


def test_what_only_one_has_is_an_error_or_left_out(tmp_path: Path) -> None:
    a, b = _records(tmp_path / "a", [True, False, True]), _records(tmp_path / "b", [True, False])
    with pytest.raises(DataError, match=r"only .*a has record r2"):
        _diff(a, b)
    found = _diff(a, b, common=True)
    assert (found.records, found.only_a, found.only_b) == (2, 1, 0)
    with pytest.raises(DataError, match="no record in common"):
        _diff(a, _records(tmp_path / "c", [True], ids=["z"]), common=True)


def test_a_record_without_a_figure_is_left_out_and_counted(tmp_path: Path) -> None:
    a = _records(tmp_path / "a", [1.0, None, 2.0], "nll_per_token")
    found = _diff(a, a)
    assert found.records == 2 and "1 record without nll_per_token" in found.notes[0]


def test_a_record_without_a_verdict_leaves_the_others_right_or_wrong(tmp_path: Path) -> None:
    a = _records(tmp_path / "a", [True] * 8 + [False, None, True])
    found = _diff(a, _records(tmp_path / "b", [False] * 8 + [True, True, None]))
    table = found.table
    assert table is not None and (table.both_right, table.lost, table.won, table.both_wrong) == (0, 8, 1, 0)
    assert (found.records, found.test) == (9, "McNemar's, exact")
    assert found.notes[0] == "2 records without correct in one of the two"


def test_two_reports_are_compared_as_independent(tmp_path: Path) -> None:
    a, b = _report(tmp_path / "a", 10.0, 0.3), _report(tmp_path / "b", 11.0, 0.4)
    found = _diff(a, b)
    assert found.verdict == "worse" and found.p_value == pytest.approx(0.0455, abs=1e-4)  # z = 2
    assert found.interval.high == pytest.approx(1 + 1.959964 * 0.5, rel=1e-6)
    assert _diff(a, _report(tmp_path / "b", 10.9, 0.4)).verdict == "no difference"
    with pytest.raises(DataError, match="has perplexity"):
        _diff(a, _report(tmp_path / "c", 1, 1, "kl_divergence"))


def test_reports_whose_noise_is_not_known_have_no_verdict(tmp_path: Path) -> None:
    a, b = _report(tmp_path / "a", 1.0, 0.0, "ece"), _report(tmp_path / "b", 0.0, 0.0, "ece")
    found = _diff(a, b)
    assert (found.p_value, found.interval, found.headline.error) == (None, None, None)
    assert found.verdict == "not known" and "noise is not known" in found.notes[0]
    assert "--per-record" not in found.notes[0]  # which eval tokens does not have
    assert _diff(a, a).verdict == "no difference"


def test_all_of_two_right_and_none_of_two_are_two_small_shares(tmp_path: Path) -> None:
    a, b = (
        _report(tmp_path / name, value, 0.0, "acc", records=2) for name, value in (("a", 0.0), ("b", 1.0))
    )
    found = _diff(a, b)
    assert found.p_value == pytest.approx(1 / 3) and "Fisher" in found.test
    assert found.verdict == "no difference"


def test_samples_of_one_task_count_as_one(tmp_path: Path) -> None:
    def write(path: Path, first_is_right: bool, samples: int = 20) -> Path:
        rows = [
            {"id": f"t{task}", "task": task, "sample": sample, "correct": first_is_right or task > 0}
            for task in range(5)
            for sample in range(samples)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    a, b = write(tmp_path / "a", True), write(tmp_path / "b", False)
    found = _diff(a, b)
    assert (found.records, found.p_value, found.verdict) == (5, 1.0, "no difference")
    assert found.difference == pytest.approx(-0.2) and found.table is None
    assert found.interval.method.startswith("paired bootstrap of 5 tasks") and found.worst[0].id == "t0"
    assert "each task counts once" in found.notes[0]
    assert _diff(a, write(tmp_path / "c", False, samples=1)).records == 5
    single = _diff(write(tmp_path / "d", True, samples=1), tmp_path / "c")
    assert single.table is not None and single.table.lost == 1 and not single.notes


def test_results_of_two_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a report and records"):
        _diff(_report(tmp_path / "a", 1, 1), _records(tmp_path / "b", [True]))
    with pytest.raises(DataError, match="no correct, score"):
        _diff(_records(tmp_path / "a", [1], "x"), _records(tmp_path / "b", [1], "x"))
    with pytest.raises(DataError, match="is no number"):
        _diff(_records(tmp_path / "a", ["1"], "x"), _records(tmp_path / "b", [1], "x"), metric="x")
    with pytest.raises(DataError, match="has no 'y'"):
        _diff(_records(tmp_path / "a", [1], "x"), _records(tmp_path / "b", [1], "x"), metric="y")
    (tmp_path / "e").touch()
    with pytest.raises(DataError, match="no records"):
        _diff(tmp_path / "e", tmp_path / "e")


@pytest.mark.parametrize(
    ("config", "flag"),
    [
        ({"metric": "bits_per_byte"}, "--metric"),
        ({"lower_is_better": True}, "--lower-is-better"),
        ({"lower_is_better": False}, "--higher-is-better"),
        ({"common": True}, "--common"),
        ({"seed": 3}, "--seed"),
    ],
)
def test_options_of_records_are_refused_for_reports(
    tmp_path: Path, config: dict[str, Any], flag: str
) -> None:
    a, b = _report(tmp_path / "a", 20.0, 0.1), _report(tmp_path / "b", 21.0, 0.1)
    assert _diff(a, b).verdict == "worse"
    with pytest.raises(DataError, match=f"reports, and {flag} is of two --per-record files"):
        _diff(a, b, **config)


def test_two_reports_of_other_work_are_refused(tmp_path: Path) -> None:
    work = {"inputs_sha256": "a", "window": 64, "scored_tokens": 9}
    a = _report(tmp_path / "a", 10.0, 0.3, work=work, bits_per_byte=1.0)
    assert _diff(a, _report(tmp_path / "b", 10.0, 0.3, work=work)).verdict == "no difference"
    with pytest.raises(DataError, match=r"a: of other inputs than .*b"):
        _diff(a, _report(tmp_path / "b", 10.0, 0.3, work={**work, "inputs_sha256": "b"}))
    with pytest.raises(DataError, match=r"b: window is 32 there, and 64 in .*a"):  # of a time before `work`
        _diff(a, _report(tmp_path / "b", 10.0, 0.3, window=32))
    other_tokens = _report(tmp_path / "b", 10.0, 0.3, work={**work, "scored_tokens": 8}, bits_per_byte=1.0)
    with pytest.raises(DataError, match="scored_tokens is 9 there, and 8") as told:
        _diff(a, other_tokens)
    assert "bpb" in told.value.hint
    assert _diff(a, other_tokens, max_increase=(("bpb", 0.1),)).increases[0].increase == 0


def test_both_sides_from_stdin_are_refused() -> None:
    with pytest.raises(UsageError, match="both stdin"):
        _diff(Path("-"), Path("-"))
