"""Gates: at, above and below their limits, and against the report of an earlier run."""

import json
import math
import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmkit.errors import DataError, GateFailed, MissingError, UsageError
from llmkit.probe.evaluate.headline import Headline
from llmkit.workflows.eval.gates import (
    Earlier,
    check_baseline,
    check_limit,
    check_share,
    parse_earlier,
    read_earlier,
    share_of,
)
from llmkit.workflows.eval.work import Work

PPL = Headline(name="perplexity", value=10.0, error=0.5, better="lower")
ACCURACY = Headline(name="accuracy", value=0.75, error=0.05, better="higher")


class _Now(msgspec.Struct, frozen=True):
    """A report of this run."""

    headline: Headline
    work: Work = {}


def _report(path: Path, **changes: Any) -> Path:
    headline = {"name": "perplexity", "value": 9.0, "error": 0.1, "better": "lower"} | changes
    path.write_text(json.dumps({"schema": "llmkit.eval.ppl/1", "more": [1], "headline": headline}))
    return path


def test_a_figure_at_its_limit_passes_and_beyond_it_fails_whichever_way_is_good() -> None:
    check_limit(PPL, None, "--fail-above")
    check_limit(PPL, 10.0, "--fail-above")
    check_limit(ACCURACY, 0.75, "--min-accuracy")
    with pytest.raises(GateFailed, match=r"perplexity 10 .* more than --fail-above 9.9"):
        check_limit(PPL, 9.9, "--fail-above")
    with pytest.raises(GateFailed, match=r"accuracy 0.75 .* less than --min-accuracy 0.8"):
        check_limit(ACCURACY, 0.8, "--min-accuracy")


def test_what_is_no_number_passes_no_gate() -> None:
    nowhere = msgspec.structs.replace(PPL, value=math.nan)
    with pytest.raises(GateFailed, match="not known to be within --fail-above"):
        check_limit(nowhere, 9.9, "--fail-above")
    with pytest.raises(GateFailed, match="not known to be within --min-accuracy"):
        check_limit(msgspec.structs.replace(ACCURACY, value=math.nan), 0.1, "--min-accuracy")
    with pytest.raises(GateFailed, match="perplexity nan"):
        check_baseline(_Now(nowhere), Earlier("b.json", PPL, {}))


def test_a_baseline_counts_beyond_noise(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    check_baseline(_Now(PPL), None)
    check_baseline(_Now(PPL), read_earlier(_report(path, value=9.01)))  # 1.96 errors of 0.51 are 0.999
    with pytest.raises(GateFailed, match=r"worse by 2"):
        check_baseline(_Now(PPL), read_earlier(_report(path, value=8.0)))
    with pytest.raises(DataError, match="has accuracy, and this run perplexity"):
        check_baseline(_Now(PPL), read_earlier(_report(path, name="accuracy")))


def test_a_baseline_of_other_work_is_refused_however_good_the_figure(tmp_path: Path) -> None:
    before = read_earlier(_report(tmp_path / "b.json", value=1e9))
    now = _Now(PPL, {"window": 32})
    check_baseline(now, before)
    told = {**before.report, "work": {"window": 64}}
    with pytest.raises(DataError, match=r"b\.json: window is 64 there, and 32 in this run"):
        check_baseline(now, Earlier(before.name, before.headline, told))


def test_a_report_is_read_from_a_pipe_once(tmp_path: Path) -> None:
    content = _report(tmp_path / "b.json").read_bytes()
    assert parse_earlier(content, "stdin").report == json.loads(content)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    assert read_earlier(pipe).headline.value == 9.0
    writer.join()


def test_what_is_no_report_of_this_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    with pytest.raises(MissingError, match="no such file"):
        read_earlier(path)
    path.write_text("{}")
    with pytest.raises(DataError, match="not a report"):
        read_earlier(path)
    assert read_earlier(_report(path), "llmkit.eval.ppl/1").headline.value == 9.0
    with pytest.raises(DataError, match="another kind"):
        read_earlier(path, "llmkit.eval.kl/1")


def test_a_share_is_between_0_and_1() -> None:
    check_share(None, "--x")
    check_share(1.0, "--x")
    with pytest.raises(UsageError, match="--x 80"):
        check_share(80, "--x")


def test_a_loss_whose_noise_is_not_known_fails_no_gate_and_is_told(tmp_path: Path) -> None:
    ece = Headline(name="ece", value=0.31, error=None, better="lower")
    before = read_earlier(_report(tmp_path / "b.json", name="ece", value=0.3, error=0.0))  # an old report
    told = check_baseline(_Now(ece), before)
    assert told is not None and "worse by 0.01" in told and "noise is not known" in told
    assert check_baseline(_Now(msgspec.structs.replace(ece, value=0.29)), before) is None
    with pytest.raises(GateFailed, match=r"ece 0.31, more than --fail-above 0.3"):
        check_limit(ece, 0.3, "--fail-above")


class _Shares(msgspec.Struct, frozen=True):
    """A report of records that are right or wrong."""

    headline: Headline
    records: int
    work: Work = {}


@pytest.mark.parametrize(("records", "fails"), [(2, False), (3, False), (5, True)])
def test_a_share_fails_by_its_counts_however_sure_its_error_looks(records: int, fails: bool) -> None:
    # none right now, all before: p is 1/3, 1/10, 1/126
    right = Headline(name="acc", value=1.0, error=0.0, better="higher")
    now = _Shares(msgspec.structs.replace(right, value=0.0), records)
    before = Earlier("b.json", right, {"records": records})
    if fails:
        with pytest.raises(GateFailed, match=r"acc 0, 1 in b\.json: worse by 1"):
            check_baseline(now, before)
    else:
        assert check_baseline(now, before) is None


def test_only_figures_of_right_and_wrong_are_shares() -> None:
    def share(name: str, value: float, told: dict[str, object]) -> object:
        return share_of(Headline(name=name, value=value, error=0.1, better="higher"), told.get)

    assert share("accuracy", 0.75, {"records": 8}) == (6, 8)
    assert share("f1", 0.75, {"records": 8}) is None
    assert share("acc", 0.7, {"records": 8}) is None and share("acc", 0.5, {}) is None
    assert share("pass@1", 0.5, {"tasks": 4, "samples": 1, "records": 9}) == (2, 4)
    assert share("pass@1", 0.5, {"tasks": 4, "samples": 8}) is None
