"""Figures of two reports, and how much they grew."""

import json
from pathlib import Path

import pytest

from llmkit.errors import DataError, UsageError
from llmkit.workflows.eval.increase import find_increases


def _reports(folder: Path, before: object, after: object) -> tuple[Path, Path]:
    a, b = folder / "a.json", folder / "b.json"
    a.write_text(json.dumps(before))
    b.write_text(json.dumps(after))
    return a, b


def test_a_figure_is_found_by_its_key_its_short_name_or_its_path(tmp_path: Path) -> None:
    before = {"perplexity": 10.0, "quality": {"kld_max": 2.0}}
    a, b = _reports(tmp_path, before, {"ppl": 10.5, "quality": {"kld_max": 1.0}})
    limits = [("ppl", 0.02), ("perplexity", 0.1), ("quality.kld_max", 0.0)]
    found = find_increases(a, b, limits)
    assert [(one.metric, one.before, one.after, one.most) for one in found] == [
        ("ppl", 10.0, 10.5, 0.02),
        ("perplexity", 10.0, 10.5, 0.1),
        ("quality.kld_max", 2.0, 1.0, 0.0),
    ]
    assert [one.increase for one in found] == pytest.approx([0.05, 0.05, -0.5])


@pytest.mark.parametrize("key", ["perplexty", "quality", "quality.none", "notes", "done"])
def test_what_is_no_figure_is_refused_with_the_nearest(tmp_path: Path, key: str) -> None:
    report = {"perplexity": 10.0, "quality": {"kld_max": 2.0}, "notes": "a", "done": True}
    with pytest.raises(UsageError, match=f"a.json: no figure {key}") as caught:
        find_increases(*_reports(tmp_path, report, report), [(key, 0.1)])
    assert "perplexity" in (caught.value.hint or "")


def test_nothing_is_a_share_of_nought(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="kl is 0"):
        find_increases(*_reports(tmp_path, {"kl": 0.0}, {"kl": 0.1}), [("kl", 0.1)])
