"""What show says of an importance matrix, and doctor of what is wrong with one."""

from pathlib import Path

import numpy as np
import pytest

from llmkit.errors import DataError
from llmkit.formats.gguf.imatrix import Importance, write_imatrix
from llmkit.workflows.show.imatrix import show_imatrix
from llmkit.workflows.show.show import show_artefact, tensors_of


@pytest.fixture
def imatrix(tmp_path: Path) -> Path:
    path = tmp_path / "imatrix.gguf"
    seen = Importance(np.ones((1, 8), np.float32), np.array([5], np.float32))
    stack = Importance(np.ones((3, 4), np.float32), np.array([5, 0, 2], np.float32))
    with path.open("wb") as stream:
        write_imatrix(
            stream,
            {"blk.0.attn_q.weight": seen, "blk.0.ffn_up_exps.weight": stack},
            **{"datasets": ["corpus.txt"], "chunks": 3, "chunk_size": 512},
        )
    return path


def test_matrices_of_a_stack_count_each_and_those_unseen_are_told(imatrix: Path) -> None:
    report = show_imatrix(imatrix)
    assert (report.kind, report.datasets, report.chunks, report.chunk_size) == (
        *("imatrix", ["corpus.txt"]),
        *(3, 512),
    )
    assert (report.matrices, report.unseen, report.columns) == (4, 1, 8 + 12)
    assert report.size_bytes == imatrix.stat().st_size


def test_an_importance_matrix_is_no_model(imatrix: Path) -> None:
    assert show_artefact(imatrix) == show_imatrix(imatrix)
    assert len(list(tensors_of(imatrix))) == 4


def test_a_damaged_one_is_refused(imatrix: Path) -> None:
    imatrix.write_bytes(imatrix.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"imatrix\.gguf"):
        show_imatrix(imatrix)
