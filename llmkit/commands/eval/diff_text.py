"""The report of `llmkit eval diff`, for people."""

from typing import Any

from llmkit.commands.facts import Facts, facts_lines, plural
from llmkit.commands.shared import align
from llmkit.commands.terminal import text_width


def diff_text(report: Any) -> str:
    """A DiffReport as facts, and the records that lost most."""
    interval, table = report.interval, report.table
    told = "not known of one record" if report.records == 1 else None
    if interval is not None:
        told = f"{interval.low:+.6g} to {interval.high:+.6g}: {interval.method}"
    alone = [
        f"{plural(count, 'record')} only in {name}"
        for count, name in ((report.only_a, "A"), (report.only_b, "B"))
        if count
    ]
    facts: Facts = [
        (report.metric, f"{report.value_a:.6g} to {report.value_b:.6g}; {report.better} is better"),
        ("difference", f"{report.difference:+.6g}"),
        ("95 % interval", told),
        ("p-value", f"{report.p_value:.4g}: {report.test}" if report.p_value is not None else None),
        ("records", plural(report.records, "pair") if report.records is not None else None),
        ("left out", alone),
        (
            "changed",
            f"{table.won:,} won, {table.lost:,} lost; {table.both_right:,} right in both, "
            f"{table.both_wrong:,} wrong in both"
            if table is not None
            else None,
        ),
        ("verdict", report.verdict),
        *(
            (one.metric, f"{one.before:.6g} to {one.after:.6g}: {one.increase:+.2%} of {one.most * 100:+g}%")
            for one in report.increases
        ),
        *(("note", note) for note in report.notes),
    ]
    lines = [f"A {report.a}", f"B {report.b}", *facts_lines(facts, text_width())]
    if report.worst:
        rows = [("lost most", "A", "B")]
        rows += [(one.id, f"{one.before:.6g}", f"{one.after:.6g}") for one in report.worst]
        lines += ["", align(rows, right=(1, 2))]
    return "\n".join(lines)
