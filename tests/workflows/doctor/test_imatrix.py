"""An importance matrix is sound, or is told with what is wrong; it is not judged as a model."""

from pathlib import Path

import numpy as np

from llmkit.formats.gguf.imatrix import Importance, write_imatrix
from llmkit.workflows.doctor.doctor import diagnose


def _findings(path: Path, square: float, count: float) -> list[tuple[str, str]]:
    one = Importance(np.full((1, 4), square, np.float32), np.array([count], np.float32))
    with path.open("wb") as stream:
        write_imatrix(stream, {"blk.0.attn_q.weight": one}, datasets=["a"], chunks=1, chunk_size=8)
    report = diagnose([path])
    assert report.checked[0].kind == "imatrix"
    return [(one.level, one.check) for one in report.findings]


def test_a_sound_one_has_no_findings_and_a_broken_one_its_own(tmp_path: Path) -> None:
    path = tmp_path / "imatrix.gguf"
    assert _findings(path, 1.0, 5.0) == []
    assert _findings(path, 1.0, 0.0) == [("info", "imatrix.seen")]
    assert _findings(path, float("nan"), 5.0) == [("error", "imatrix.opens")]
