"""The spool: what goes in comes out, and an interrupted one goes on from its last commit."""

from pathlib import Path

import numpy as np

from llmkit.formats.token_spool import TokenSpool

NO_RUNS = np.empty((0, 2), np.int64)


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.uint32)


def test_documents_come_out_as_they_went_in(tmp_path: Path) -> None:
    with TokenSpool(tmp_path, "u4") as spool:
        spool.add(ids(1, 70_000, 3), np.array([[1, 2]]), b'{"id":"a"}\n')
        spool.add(ids(9), NO_RUNS, b'{"id":"b"}\n')
        spool.flush()
        assert spool.tokens().tolist() == [1, 70_000, 3, 9]
        assert spool.lengths().tolist() == [3, 1]
        runs, counts = spool.runs()
        assert (runs.tolist(), counts.tolist()) == ([[1, 2]], [1, 0])
        assert (spool.state.documents, spool.state.tokens) == (2, 4)
    assert (tmp_path / "tokens").read_bytes() == np.array([1, 70_000, 3, 9], "<u4").tobytes()
    assert (tmp_path / "documents").read_bytes() == b'{"id":"a"}\n{"id":"b"}\n'


def test_two_bytes_an_id_where_they_do(tmp_path: Path) -> None:
    with TokenSpool(tmp_path, "u2") as spool:
        spool.add(ids(1, 65_535), NO_RUNS, b"")
        spool.flush()
        assert spool.tokens().tolist() == [1, 65_535] and (tmp_path / "tokens").stat().st_size == 4


def test_what_came_after_the_last_commit_is_dropped_when_it_is_opened_again(tmp_path: Path) -> None:
    with TokenSpool(tmp_path, "u2") as spool:
        spool.add(ids(1, 2), np.array([[0, 1]]), b"first\n")
        spool.state.notes = {"seen": 5}
        spool.commit()
        spool.add(ids(3, 4, 5), np.array([[0, 3]]), b"lost\n")
        spool.flush()
    with TokenSpool(tmp_path, "u2") as spool:
        assert spool.state.notes == {"seen": 5} and spool.state.documents == 1
        spool.add(ids(6), NO_RUNS, b"second\n")
        spool.flush()
        assert spool.tokens().tolist() == [1, 2, 6] and spool.lengths().tolist() == [2, 1]
        assert spool.runs()[0].tolist() == [[0, 1]]
    assert (tmp_path / "documents").read_bytes() == b"first\nsecond\n"


def test_an_empty_spool_has_empty_arrays(tmp_path: Path) -> None:
    with TokenSpool(tmp_path, "u2") as spool:
        spool.flush()
        assert len(spool.tokens()) == len(spool.lengths()) == len(spool.runs()[0]) == 0
