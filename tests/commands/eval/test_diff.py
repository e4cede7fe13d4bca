"""llmkit eval diff on the command line: exit 1 when the second is worse."""

import json
from pathlib import Path

import pytest


def _records(path: Path, values: list[object], key: str = "correct") -> Path:
    path.write_text("".join(json.dumps({"id": n, key: one}) + "\n" for n, one in enumerate(values)))
    return path


def test_worse_exits_1_behind_a_whole_report_and_better_or_alike_0(llmkit_run, tmp_path: Path) -> None:
    good, bad = _records(tmp_path / "a", [True] * 9), _records(tmp_path / "b", [False] * 9)
    done = llmkit_run("eval", "diff", good, bad, "--json")
    assert done.status == 1 and "worse, p = 0.00391" in done.err
    report = json.loads(done.out)
    assert (report["verdict"], report["schema"]) == ("worse", "llmkit.eval.diff/1")
    assert llmkit_run("eval", "diff", bad, good).status == 0
    assert llmkit_run("eval", "diff", good, good).status == 0


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        ([], 1),
        (["--alpha", "0.01"], 0),
        (["--higher-is-better"], 0),
        (["--metric", "x"], 3),
        (["--alpha", "2"], 2),
    ],
)
def test_flags_say_what_counts(llmkit_run, tmp_path: Path, flags: list[str], status: int) -> None:
    a = _records(tmp_path / "a", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "kld")
    b = _records(tmp_path / "b", [1.5, 2.1, 3.2, 4.3, 5.4, 6.6], "kld")
    assert llmkit_run("eval", "diff", a, b, *flags).status == status


def test_records_of_one_alone_need_leave(llmkit_run, tmp_path: Path) -> None:
    a, b = _records(tmp_path / "a", [True, True]), _records(tmp_path / "b", [True])
    assert llmkit_run("eval", "diff", a, b).status == 3
    done = llmkit_run("eval", "diff", a, b, "--common", "--seed", "3")
    assert done.status == 0 and "1 record only in A" in done.text


def test_the_hint_names_records_only_where_there_are_some(llmkit_run, tmp_path: Path) -> None:
    old, new = _records(tmp_path / "a", [True] * 9), _records(tmp_path / "b", [False] * 9)
    assert "names the records that lost most" in llmkit_run("eval", "diff", old, new).err
    for path, value in ((old, 1.0), (new, 9.0)):
        headline = {"name": "perplexity", "value": value, "error": 0.1, "better": "lower"}
        path.write_text(json.dumps({"schema": "llmkit.eval.ppl/1", "headline": headline}))
    done = llmkit_run("eval", "diff", old, new)
    assert done.status == 1 and "--alpha" in done.err and "lost most" not in done.err


def test_a_figure_of_two_reports_may_grow_by_a_share_and_no_more(llmkit_run, tmp_path: Path) -> None:
    for name, value in (("a", 10.0), ("b", 10.5)):
        figure = {"name": "perplexity", "value": value, "error": 0.001, "better": "lower"}
        (tmp_path / name).write_text(json.dumps({"schema": "x", "perplexity": value, "headline": figure}))
    line = ("eval", "diff", tmp_path / "a", tmp_path / "b")
    assert llmkit_run(*line).status == 1  # beyond noise
    assert llmkit_run(*line, "--max-increase", "ppl=6%").status == 0
    assert "+5.00% of +6%" in llmkit_run(*line, "--max-increase", "ppl=6%").text
    done = llmkit_run(*line, "--max-increase", "ppl=0.06", "--max-increase", "perplexity=2%", "--json")
    assert done.status == 1 and "+5.00%, more than --max-increase perplexity=2%" in done.err
    assert [one["most"] for one in json.loads(done.out)["increases"]] == [0.06, 0.02]
    for wrong in ("ppl", "ppl=", "=2%", "ppl=2x", "ppl=nan", "ppl=inf"):
        assert llmkit_run(*line, "--max-increase", wrong).status == 2
    rows = _records(tmp_path / "r", [True])
    assert llmkit_run("eval", "diff", rows, rows, "--max-increase", "ppl=2%").status == 3
