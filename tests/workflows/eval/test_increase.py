"""Figures of two reports, and how much they grew."""

from typing import Any

import pytest

from llmkit.errors import DataError, UsageError
from llmkit.workflows.eval.increase import Report, find_increases


def _reports(before: dict[str, Any], after: dict[str, Any]) -> tuple[Report, Report]:
    return ("a.json", before), ("b.json", after)


def test_a_figure_is_found_by_its_key_its_short_name_or_its_path() -> None:
    before = {"perplexity": 10.0, "quality": {"kld_max": 2.0}}
    a, b = _reports(before, {"ppl": 10.5, "quality": {"kld_max": 1.0}})
    limits = [("ppl", 0.02), ("perplexity", 0.1), ("quality.kld_max", 0.0)]
    found = find_increases(a, b, limits)
    assert [(one.metric, one.before, one.after, one.most) for one in found] == [
        ("ppl", 10.0, 10.5, 0.02),
        ("perplexity", 10.0, 10.5, 0.1),
        ("quality.kld_max", 2.0, 1.0, 0.0),
    ]
    assert [one.increase for one in found] == pytest.approx([0.05, 0.05, -0.5])


@pytest.mark.parametrize("key", ["perplexty", "quality", "quality.none", "notes", "done"])
def test_what_is_no_figure_is_refused_with_the_nearest(key: str) -> None:
    report = {"perplexity": 10.0, "quality": {"kld_max": 2.0}, "notes": "a", "done": True}
    with pytest.raises(UsageError, match=f"a.json: no figure {key}") as caught:
        find_increases(*_reports(report, report), [(key, 0.1)])
    assert "perplexity" in (caught.value.hint or "")


@pytest.mark.parametrize("most", [float("nan"), float("inf")])
def test_a_limit_that_nothing_can_be_held_to_is_refused(most: float) -> None:
    with pytest.raises(UsageError, match=f"--max-increase kl={most}"):
        find_increases(*_reports({"kl": 1.0}, {"kl": 1.0}), [("kl", most)])


def test_nothing_is_a_share_of_nought() -> None:
    with pytest.raises(DataError, match="kl is 0"):
        find_increases(*_reports({"kl": 0.0}, {"kl": 0.1}), [("kl", 0.1)])
