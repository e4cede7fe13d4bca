"""A merge's report is JSON with its schema, whatever the job."""

import json
from pathlib import Path

import msgspec

from tests.workflows.merging import merged, write_models


def test_reports_of_all_jobs_have_one_schema(tmp_path: Path) -> None:
    write_models(tmp_path, "one", "two", near=0.1)
    reports = [
        merged(tmp_path, "a", "one", "two", method="slerp"),
        merged(tmp_path, "b", "one", "two", extract=True, rank=2),
    ]
    first, second = (json.loads(msgspec.json.encode(one)) for one in reports)
    assert first.keys() == second.keys()
    assert first["schema"] == second["schema"] == "llmkit.merge/1"
    assert (first["job"], second["job"]) == ("method", "extract")
