"""An index on disk."""

import json
from pathlib import Path

import numpy as np
import pytest

from llmkit.errors import DataError
from llmkit.text.shingles import shingle, shingle_set
from llmkit.workflows.dedup.index import read_index
from llmkit.workflows.dedup.options import DedupConfig
from tests.workflows.deduping import dedup, write_rows


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Of two documents: one has a duplicate."""
    texts = ["a text of some six or seven words", "a text of some six or seven words!", "something else"]
    rows = [{"id": f"é{n}", "text": text, "source": str(n)} for n, text in enumerate(texts)]
    dedup(
        tmp_path / "out",
        [write_rows(tmp_path / "in.jsonl", rows)],
        save_index=tmp_path / "index",
        prefer="first",
    )
    return tmp_path / "index"


def test_it_holds_what_is_kept_and_no_text(index: Path) -> None:
    note = read_index(index, DedupConfig())
    assert note.documents == 2 and note.sources == ("0", "2")
    sets = [
        shingle_set(shingle([text]).hashes)
        for text in ("a text of some six or seven words", "something else")
    ]
    assert np.array_equal(np.fromfile(index / "documents.sets", "<u4"), np.concatenate(sets))
    assert (index / "documents.ids").read_bytes().decode() == "é0é2"
    assert not any(b"seven" in path.read_bytes() for path in index.iterdir())


def test_an_index_of_another_algorithm_or_damaged_is_refused(index: Path) -> None:
    with pytest.raises(DataError, match="made with by near, not exact"):
        read_index(index, DedupConfig(by="exact"))
    note = json.loads((index / "index.json").read_text())
    (index / "index.json").write_text(json.dumps(note | {"algorithm": "older/0"}))
    with pytest.raises(DataError, match="another algorithm"):
        read_index(index, DedupConfig())
    (index / "index.json").write_text("{")
    with pytest.raises(DataError, match=r"index\.json"):
        read_index(index, DedupConfig())
    (index / "index.json").write_text(json.dumps(note))
    (index / "documents.facts").write_bytes(b"x")
    with pytest.raises(DataError, match="cut short"):
        read_index(index, DedupConfig())
