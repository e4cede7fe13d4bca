"""The report of eval score, for people."""

from msgspec.structs import replace

from llmkit.commands.eval.score_text import score_text
from llmkit.probe.evaluate.headline import Headline
from llmkit.probe.evaluate.intervals import Interval
from llmkit.workflows.eval.score import GroupScore, ScoreReport


def test_the_share_its_interval_and_groups_are_there() -> None:
    report = ScoreReport(
        **{"outputs": "o.jsonl", "match": "gsm8k", "records": 1000, "correct": 250, "score": 0.25},
        **{"nothing_found": 3, "without_output": 7},
        interval=Interval(low=0.22, high=0.28, method="by hand"),
        groups=[GroupScore(group="algebra", records=500, score=0.5)],
        work={},
        headline=Headline(name="accuracy", value=0.25, error=0.01, better="higher"),
    )  # fmt: skip
    lines = score_text(report).splitlines()
    assert lines[0] == "o.jsonl: matched by gsm8k"
    assert lines[1].split("  ")[-1].strip() == "0.2500 (250 of 1,000 right)"
    assert "0.2200 to 0.2800: by hand" in lines[2] and "3 outputs" in lines[3]
    assert "for 7 answers, counted as wrong" in lines[4]
    assert lines[-1].split() == ["algebra", "500", "0.5000"]
    assert "95 % interval  not known of one record" in score_text(replace(report, interval=None))
