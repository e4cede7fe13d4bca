"""The report of eval mc, for people."""

from typing import Any

import msgspec

from llmkit.commands.eval.mc_text import mc_text
from llmkit.probe.evaluate.headline import Headline
from llmkit.probe.evaluate.intervals import Interval
from llmkit.workflows.eval.mc_report import GroupAccuracy, McReport


def _report(**given: Any) -> McReport:
    report = McReport(
        model="run", form="mmlu", shots=5, records=1000, acc=0.25, acc_error=0.01, acc_norm=0.5,
        acc_norm_error=0.02, acc_bytes=0.75, acc_bytes_error=0.03, perplexity=None, truncated=0, seconds=1.0,
        interval=Interval(low=0.2, high=0.3, method="by hand"), notes=(),
        groups=[GroupAccuracy(group="law", records=10, acc=0.1, acc_error=0.2, acc_norm=0.3, acc_bytes=0.4)],
        work={},
        headline=Headline(name="acc", value=0.25, error=0.01, better="higher"),
    )  # fmt: skip
    return msgspec.structs.replace(report, **given)


def test_figures_and_groups_are_there() -> None:
    text = mc_text(_report())
    assert "1,000 as mmlu has them, 5 examples before each" in text
    assert "acc_norm       0.5000 ± 0.0200" in text
    assert "law           10  0.1000  0.2000    0.3000     0.4000" in text


def test_a_last_word_has_a_perplexity_and_no_lengths() -> None:
    text = mc_text(_report(form="lambada", perplexity=12.5, groups=[]))
    assert "12.5000 of the last word" in text and "acc_norm" not in text
