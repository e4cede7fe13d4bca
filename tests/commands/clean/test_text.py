"""Words of clean: counts with their shares, only rules that drop, and each check of an explanation."""

from llmkit.commands.clean.text import describe_explanation, describe_plan, describe_report
from llmkit.text.rule import Check
from llmkit.workflows.clean.clean import CleanPlan, Explanation
from llmkit.workflows.clean.report import build_report
from llmkit.workflows.clean.tally import Count, Tally

CHECKS = (Check("words", "words of the text", low=50), Check("idle", "never drops"))
TALLY = Tally(
    documents=1200,
    bytes=1 << 20,
    kept=900,
    kept_bytes=1 << 19,
    written_bytes=1000,
    changed=7,
    malformed=100,
    malformed_bytes=10,
    dropped={"words": Count(200, 2048)},
    edits={"mojibake": Count(7, 70)},
    edit_counts={"mojibake": 21},
)


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_report_says_what_came_what_stayed_and_which_rule_dropped_what() -> None:
    text = describe_report(build_report(TALLY, CHECKS, "drop"))
    assert "documents  1,200 (1.0 MiB)" in text
    assert "kept       900 (512.0 KiB, 75.0% of documents)" in text
    assert "rejected   300 (512.0 KiB), 100 of them malformed" in text
    assert "changed    7; 1000 B written" in text
    assert ["words", "200", "18.2%", "2.0", "KiB", "words", "of", "the", "text"] in rows(text)
    assert "idle" not in text and "median" not in text and "mojibake" in text
    assert ["mojibake", "21", "7"] in rows(text)


def test_medians_stand_where_values_were_measured_and_tagging_only_would_drop() -> None:
    tally = Tally(documents=10, dropped={"words": Count(2, 5)}, values={"words": {12: 10}})
    text = describe_report(build_report(tally, CHECKS, "tag", unfinished=True))
    assert ["words", "2", "20.0%", "5", "B", "12", "words", "of", "the", "text"] in rows(text)
    assert "would drop" in text and "one shard: others are missing" in text


def test_an_empty_run_has_no_shares() -> None:
    assert "(0 B, - of documents)" in describe_report(build_report(Tally(), CHECKS, "drop"))


def test_a_plan_names_inputs_output_workers_and_bounds() -> None:
    rule = {"rule": "words", "meaning": "words of the text", "low": 50, "high": None}
    plan = CleanPlan(["a", "b"], 2048, "out", 3, 4, "ray", [rule])
    text = describe_plan(plan)
    assert "inputs   2 (2.0 KiB)" in text and "output   out, a folder of 3 parts" in text
    assert "workers  4 (ray)" in text and ["words", ">=", "50", "words", "of", "the", "text"] in rows(text)
    assert "unknown (stdin)" in describe_plan(CleanPlan(["-"], None, None, None, 1, "process", []))


def test_an_explanation_spells_out_what_in_a_name_would_steer_the_terminal() -> None:
    one = Explanation("\x1b[2J", "\x1b[2J.txt", 0, True, [], {}, [])
    assert describe_explanation(one) == "\\x1b[2J  \\x1b[2J.txt  kept"


def test_an_explanation_has_a_line_for_each_check() -> None:
    checks = [
        {"rule": "words", "meaning": "m", "value": 3.0, "low": 50, "high": 100.0, "keeps": False},
        {"rule": "language", "meaning": "l", "value": "en:0.99", "low": None, "high": None, "keeps": True},
        {"rule": "unseen", "meaning": "u", "value": None, "low": None, "high": 1.0, "keeps": True},
    ]
    text = describe_explanation(Explanation("x", "a.jsonl", 4, False, [], {"mojibake": 2}, checks))
    assert rows(text)[0] == ["x", "a.jsonl:4", "dropped"]
    assert rows(text)[2:] == [
        ["DROPS", "words", "3", ">=", "50,", "<=", "100", "m"],
        ["keeps", "language", "en:0.99", "l"],
        ["keeps", "unseen", "<=", "1", "u"],
        ["edit", "mojibake", "2"],
    ]
