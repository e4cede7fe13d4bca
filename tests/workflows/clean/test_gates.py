"""The two gates: a rule that eats the corpus, and more rejected than allowed."""

from pathlib import Path

import pytest

from llmkit.errors import GateFailed
from llmkit.text.rule import Check
from llmkit.workflows.clean.gates import check_dropped, drop_watch
from llmkit.workflows.clean.options import CleanFiles, CleanSettings
from llmkit.workflows.clean.report import build_report
from llmkit.workflows.clean.tally import Count, Tally

CHECKS = (Check("first", ""), Check("second", ""))


def tally_of(documents: int, first: int, second: int, malformed: int = 0) -> Tally:
    return Tally(
        documents=documents,
        kept=documents - first - second - malformed,
        malformed=malformed,
        dropped={"first": Count(first), "second": Count(second)},
    )


def watch(tally: Tally, max_drop: float = 0.9, **settings: object) -> None:
    files = CleanFiles([Path("a")], max_drop=max_drop)
    drop_watch(files, CleanSettings(**settings), CHECKS)(tally)  # type: ignore[arg-type]


def test_a_rule_is_measured_by_the_documents_that_come_to_it() -> None:
    watch(tally_of(1000, 600, 300))  # second drops 300 of 400
    with pytest.raises(GateFailed, match=r"second drops 361 of 400 documents, over --max-drop 0\.9: stopped"):
        watch(tally_of(1000, 600, 361))
    with pytest.raises(GateFailed, match="first drops 901 of 1,000"):
        watch(tally_of(1100, 901, 0, malformed=100))


@pytest.mark.parametrize(("documents", "stops"), [(199, False), (200, True)])
def test_a_rule_that_has_seen_few_documents_is_left_alone(documents: int, stops: bool) -> None:
    if stops:
        with pytest.raises(GateFailed):
            watch(tally_of(documents, documents, 0))
    else:
        watch(tally_of(documents, documents, 0))


def test_a_limit_of_one_and_tagging_stop_nothing() -> None:
    watch(tally_of(1000, 1000, 0), max_drop=1)
    watch(tally_of(1000, 1000, 0), mode="tag")
    with pytest.raises(GateFailed):
        watch(tally_of(1000, 500, 0), max_drop=0.4)


def test_more_rejected_than_allowed_fails_with_the_share() -> None:
    report = build_report(tally_of(200, 40, 10, malformed=1), CHECKS, "drop")
    check_dropped(report, None)
    check_dropped(report, 51 / 200)
    with pytest.raises(GateFailed, match=r"51 of 200 documents rejected \(25\.5%\), over 25\.0%"):
        check_dropped(report, 0.25)
    check_dropped(build_report(Tally(), CHECKS, "drop"), 0.0)
