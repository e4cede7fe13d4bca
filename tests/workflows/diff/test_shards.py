"""Two shard folders packed from texts that are known."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError, MissingError
from llmkit.workflows.diff import shards as module
from llmkit.workflows.diff.shards import FirstDocument, diff_shards

Pack = Callable[..., Path]


def rows(*changed: tuple[int, list[int]], count: int = 12) -> list[dict[str, Any]]:
    """Documents that fill a row each, bos, 62 ids and eos; some with their first ids changed."""
    documents = [{"id": str(n), "tokens": [10 + (n + i) % 40 for i in range(62)]} for n in range(count)]
    for number, ids in changed:
        tokens = documents[number]["tokens"]
        assert isinstance(tokens, list)
        tokens[: len(ids)] = ids
    return documents


def test_a_copy_is_the_same(pack_records: Pack, tmp_path: Path) -> None:
    a = pack_records("a", *rows())
    shutil.copytree(a, tmp_path / "copy")
    found = diff_shards(a, tmp_path / "copy")
    assert found.same and found.rows_compared == 12 and found.rows_differing == 0
    assert (found.index, found.first_row, found.first_document) == ([], None, None)


@pytest.mark.parametrize("block", [1 << 20, 64])
def test_the_first_row_that_differs_is_told_by_its_place(
    pack_records: Pack, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(module, "BLOCK_TOKENS", block)
    a = pack_records("a", *rows())
    b = pack_records("b", *rows((5, [15, 16, 99]), (9, [98])))
    found = diff_shards(a, b)
    assert not found.same and (found.rows_compared, found.rows_differing) == (12, 2)
    row = found.first_row
    assert row is not None and (row.row, row.position) == (5, 3)  # bos, 15, 16, then 99
    assert (row.token_a, row.token_b, row.differs_in) == (17, 99, ["tokens"])
    assert found.index == [] and found.first_document is None


def test_rows_cut_into_other_files_are_the_same(pack_records: Pack) -> None:
    a, b = pack_records("a", *rows()), pack_records("b", *rows(), shard_tokens=1 << 20)
    found = diff_shards(a, b)
    assert found.same and found.files_a > found.files_b == 1


def test_a_mask_and_the_documents_behind_the_rows_are_compared(pack_records: Pack) -> None:
    masked, renamed = rows(), rows()
    masked[3]["mask"] = [[10, 52]]
    renamed[4]["id"] = "other"
    a = pack_records("a", *rows())
    row = diff_shards(a, pack_records("b", *masked)).first_row
    assert row is not None and (row.row, row.position, row.differs_in) == (3, 0, ["loss"])
    found = diff_shards(a, pack_records("c", *renamed))
    assert found.rows_differing == 0 and not found.same
    document = found.first_document
    assert isinstance(document, FirstDocument) and document.number == 4
    assert json.loads(document.a or "")["id"] == "4" and json.loads(document.b or "")["id"] == "other"


def test_other_lengths_of_rows_are_told_by_the_index_alone(pack_records: Pack) -> None:
    a, b = pack_records("a", *rows()), pack_records("b", *rows(), seq_len=31)
    found = diff_shards(a, b)
    told = {one.key: (one.a, one.b) for one in found.index}
    assert told["seq_len"] == (63, 31) and "shards" not in told
    assert found.rows_compared == 0 and found.first_row is None and not found.same


def test_fewer_rows_are_compared_as_far_as_they_go(pack_records: Pack) -> None:
    a, b = pack_records("a", *rows()), pack_records("b", *rows(count=8))
    found = diff_shards(a, b)
    assert (found.rows_compared, found.rows_differing) == (8, 0)
    assert {one.key for one in found.index} == {"rows", "tokens", "documents", "bytes"}
    assert found.first_document is not None
    assert (found.first_document.number, found.first_document.b) == (8, None)


def test_two_files_are_compared_by_themselves(pack_records: Pack) -> None:
    a, b = pack_records("a", *rows()), pack_records("b", *rows((0, [99])))
    names = sorted(path.name for path in a.glob("*.tok.zst"))
    assert not diff_shards(a / names[0], b / names[0]).same
    assert diff_shards(a / names[1], b / names[1]).same


def test_a_truncated_shard_is_bad_data_and_no_index_is_missing(pack_records: Pack, tmp_path: Path) -> None:
    a, b = pack_records("a", *rows()), pack_records("b", *rows())
    shard = b / "shard-00000.tok.zst"
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(DataError, match="shard-00000"):
        diff_shards(a, b)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError):
        diff_shards(a, tmp_path / "empty")
