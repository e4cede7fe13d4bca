"""The histogram of clusters."""

from pathlib import Path

import numpy as np

from llmkit.workflows.dedup.choose import histogram
from tests.workflows.deduping import dedup, write_rows


def test_clusters_are_counted_by_size_in_doubling_steps() -> None:
    assert histogram(np.array([2, 2, 3, 4, 5, 9, 16, 17])) == {
        **{"2": 2, "3-4": 2, "5-8": 1, "9-16": 2, "17-32": 1}
    }
    assert histogram(np.array([], int)) == {}


def test_what_was_dropped_is_counted_by_source_and_kept_source(tmp_path: Path) -> None:
    rows = [{"id": str(n), "text": "same", "source": "web" if n else "wiki"} for n in range(4)]
    path = write_rows(tmp_path / "in.jsonl", [*rows, {"id": "x", "text": "other", "source": "web"}])
    report = dedup(tmp_path / "out", [path], by="exact", prefer="source:wiki>web").report
    assert report.removed_by_source == {"web": {"wiki": 3}} and report.cluster_sizes == {"2": 0, "3-4": 1}
