"""The last look: parts and rejects of a unit."""

from pathlib import Path

from tests.workflows.deduping import dedup, read_rows, write_rows


def test_a_folder_has_a_part_a_unit_and_one_file_of_rejects(tmp_path: Path) -> None:
    rows = [{"id": f"{n:02d}", "text": f"text {n % 10}", "pad": "x" * 80} for n in range(30)]
    path = write_rows(tmp_path / "in.jsonl", rows)
    done = dedup(tmp_path / "out", [path], "parts", by="exact", unit_bytes=1500)
    parts = sorted(one.name for one in (tmp_path / "out" / "parts").glob("part-*"))
    assert parts == [f"part-{n:05d}.jsonl.zst" for n in range(len(parts))] and len(parts) > 1
    assert [row["id"] for row in done.kept] == [f"{n:02d}" for n in range(10)]
    assert [row["id"] for row in done.rejects] == [f"{n:02d}" for n in range(10, 30)]
    assert {row["_reject"]["dup_of"] for row in done.rejects} == {f"{n:02d}" for n in range(10)}
    assert [row["_reject"]["line"] for row in done.rejects] == list(range(11, 31))
    assert read_rows(tmp_path / "out" / "parts") == done.kept
