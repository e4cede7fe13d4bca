"""A report that was kept in a file is read back whole."""

import json
from pathlib import Path

from llmkit.workflows.show.saved_report import show_saved_report


def test_a_report_has_all_of_its_keys_beside_the_name_of_its_form(tmp_path: Path) -> None:
    path = tmp_path / "kl.json"
    path.write_text(json.dumps({"schema": "llmkit.eval.kl/1", "quality": {"kld": 0.5}, "rows": [{"a": 1}]}))
    report = show_saved_report(path)
    assert (report.path, report.kind, report.of) == (str(path), "report", "llmkit.eval.kl/1")
    assert report.values == {"quality.kld": 0.5, "rows": [{"a": 1}]}
