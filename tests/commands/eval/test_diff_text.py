"""The report of eval diff, for people."""

from msgspec.structs import replace

from llmkit.commands.eval.diff_text import diff_text
from llmkit.probe.evaluate.headline import Headline
from llmkit.probe.evaluate.intervals import Interval
from llmkit.workflows.eval.diff import ChangedRecord, ChangeTable, DiffReport


def test_the_difference_its_test_and_the_records_that_lost_are_there() -> None:
    report = DiffReport(
        a="old", b="new", metric="correct", better="higher", records=20, only_a=1, only_b=0, value_a=0.6,
        value_b=0.25, difference=-0.35, interval=Interval(low=-0.6, high=-0.1, method="by hand"),
        p_value=0.0390625, test="McNemar's, exact",
        table=ChangeTable(both_right=4, lost=8, won=1, both_wrong=7),
        worst=[ChangedRecord(id="q7", before=1, after=0)], verdict="worse",
        headline=Headline(name="difference", value=-0.35, error=0.1, better="higher"), notes=["one thing"],
    )  # fmt: skip
    text = diff_text(report)
    assert text.startswith("A old\nB new\n")
    for part in (
        *("0.6 to 0.25; higher is better", "-0.35", "-0.6 to -0.1: by hand", "0.03906: McNemar's, exact"),
        *("1 record only in A", "1 won, 8 lost; 4 right in both, 7", "worse", "one thing"),
    ):
        assert part in text
    assert text.splitlines()[-1].split() == ["q7", "1", "0"]
    text = diff_text(replace(report, records=1, interval=None))
    assert "95 % interval  not known of one record" in text
