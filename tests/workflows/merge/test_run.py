"""Each job is planned or done by one call."""

from pathlib import Path
from typing import Any

import pytest

from tests.workflows.merging import merged, write_models

JOBS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("one", "two"), {"method": "linear"}),
    (("a=one", "b=two"), {"expression": "(a + b)/2"}),
    (("one", "two"), {"extract": True, "rank": 2}),
]


@pytest.mark.parametrize(("models", "options"), JOBS)
def test_a_dry_run_writes_nothing_and_the_run_does(
    models: tuple[str, ...], options: dict[str, Any], tmp_path: Path
) -> None:
    write_models(tmp_path, "one", "two", near=0.1)
    plan = merged(tmp_path, "out", *models, dry_run=True, **options)
    assert plan.rows and not plan.written and not (tmp_path / "out").exists()
    done = merged(tmp_path, "out", *models, **options)
    assert done.written and (tmp_path / "out" / "llmkit.json").is_file()
    assert (done.job, done.size_bytes) == (plan.job, plan.size_bytes)
