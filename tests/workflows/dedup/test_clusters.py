"""Clusters as lines."""

import io
import json
from typing import Any, cast

import numpy as np

from llmkit.workflows.dedup.choose import DROPPED
from llmkit.workflows.dedup.clusters import write_clusters


class Named:
    """Documents that are called by their numbers."""

    def identity(self, document: int) -> str:
        return f"d{document}"


def test_each_cluster_is_a_line_of_its_keeper_and_its_members_in_their_order() -> None:
    rows = np.zeros(3, DROPPED)
    rows["document"], rows["keeper"], rows["similarity"] = [7, 5, 3], [4, 0, 0], [np.nan, 0.91234, 1.0]
    stream = io.BytesIO()
    write_clusters(stream, cast(Any, Named()), rows)
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {
            **{"keeper": "d0", "size": 3},
            "members": [{"id": "d3", "similarity": 1.0}, {"id": "d5", "similarity": 0.9123}],
        },
        {"keeper": "d4", "size": 2, "members": [{"id": "d7"}]},
    ]
    write_clusters(empty := io.BytesIO(), cast(Any, Named()), rows[:0])
    assert empty.getvalue() == b""
