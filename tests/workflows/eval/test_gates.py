"""Gates: at, above and below their limits, and against the report of an earlier run."""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmkit.errors import DataError, GateFailed, MissingError, UsageError
from llmkit.probe.evaluate.headline import Headline
from llmkit.workflows.eval.gates import check_baseline, check_limit, check_share, read_headline

PPL = Headline(name="perplexity", value=10.0, error=0.5, better="lower")
ACCURACY = Headline(name="accuracy", value=0.75, error=0.05, better="higher")


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


def test_what_is_no_number_passes_no_gate(tmp_path: Path) -> None:
    nowhere = msgspec.structs.replace(PPL, value=math.nan)
    with pytest.raises(GateFailed, match="not known to be within --fail-above"):
        check_limit(nowhere, 9.9, "--fail-above")
    with pytest.raises(GateFailed, match="not known to be within --min-accuracy"):
        check_limit(msgspec.structs.replace(ACCURACY, value=math.nan), 0.1, "--min-accuracy")
    with pytest.raises(GateFailed, match="perplexity nan"):
        check_baseline(nowhere, PPL, tmp_path / "b.json")


def test_a_baseline_counts_beyond_noise(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    check_baseline(PPL, None, None)
    check_baseline(PPL, read_headline(_report(path, value=9.01)), path)  # 1.96 errors of 0.51 are 0.999
    with pytest.raises(GateFailed, match=r"worse by 2"):
        check_baseline(PPL, read_headline(_report(path, value=8.0)), path)
    with pytest.raises(DataError, match="has accuracy, and this run perplexity"):
        check_baseline(PPL, read_headline(_report(path, name="accuracy")), path)


def test_what_is_no_report_of_this_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    with pytest.raises(MissingError, match="no such file"):
        read_headline(path)
    path.write_text("{}")
    with pytest.raises(DataError, match="not a report"):
        read_headline(path)
    assert read_headline(_report(path), "llmkit.eval.ppl/1").value == 9.0
    with pytest.raises(DataError, match="another kind"):
        read_headline(path, "llmkit.eval.kl/1")


def test_a_share_is_between_0_and_1() -> None:
    check_share(None, "--x")
    check_share(1.0, "--x")
    with pytest.raises(UsageError, match="--x 80"):
        check_share(80, "--x")
