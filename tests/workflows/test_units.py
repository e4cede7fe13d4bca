"""Units and receipts: done once, found again, refused when anything about them has changed."""

import os
from pathlib import Path
from typing import Any

import pytest
import zstandard

from llmkit.errors import DataError, UsageError
from llmkit.workflows.executors import Inline
from llmkit.workflows.units import (
    Output,
    Piece,
    Receipt,
    Unit,
    find_receipts,
    fingerprint_of,
    output_of,
    run_units,
    select_shard,
    split_inputs,
)

UNITS = [Unit(f"copy-{number:05d}", {"text": word}) for number, word in enumerate(("one", "two", "three"))]


def write_word(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """Writes the task's word; fails on `two` while a file called `fail` is there."""
    if unit.task["text"] == "two" and (folder / "fail").exists():
        raise DataError("two: bad", hint="mend it")
    with (folder / "calls").open("a") as calls:
        calls.write(unit.task["text"] + "\n")
    path = folder / f"{unit.name}.txt"
    path.write_text(unit.task["text"])
    return [output_of(path, folder, rows=1)], {"letters": len(unit.task["text"])}


def do(folder: Path, fingerprint: str = "f") -> list[Receipt]:
    return run_units(write_word, UNITS, folder=folder, executor=Inline(), fingerprint=fingerprint)


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().split()


def test_receipts_come_in_the_order_of_the_units_with_digests_of_what_was_written(tmp_path: Path) -> None:
    receipts = do(tmp_path)
    assert [receipt.report for receipt in receipts] == [{"letters": 3}, {"letters": 3}, {"letters": 5}]
    # sha256sum of "one"
    assert receipts[0].outputs == (
        Output("copy-00000.txt", 3, 1, "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"),
    )


def test_what_has_a_receipt_is_not_done_again(tmp_path: Path) -> None:
    first = do(tmp_path)
    seen: list[str] = []
    again = run_units(
        write_word,
        UNITS,
        folder=tmp_path,
        executor=Inline(),
        fingerprint="f",
        on_done=lambda receipt: seen.append(receipt.unit),
    )
    assert again == first and seen == [unit.name for unit in UNITS]
    assert calls(tmp_path) == ["one", "two", "three"]


def test_units_before_a_failure_keep_their_receipts(tmp_path: Path) -> None:
    (tmp_path / "fail").touch()
    with pytest.raises(DataError, match="two: bad"):
        do(tmp_path)
    (tmp_path / "fail").unlink()
    do(tmp_path)
    assert calls(tmp_path) == ["one", "two", "three"]


@pytest.mark.parametrize("damage", ["output lost", "output cut", "receipt cut", "receipt lost"])
def test_a_unit_whose_files_are_not_as_its_receipt_says_is_done_again(tmp_path: Path, damage: str) -> None:
    do(tmp_path)
    path = tmp_path / "copy-00001.txt" if "output" in damage else tmp_path / ".receipts" / "copy-00001.json"
    path.unlink() if "lost" in damage else path.write_bytes(path.read_bytes()[:-1])
    do(tmp_path)
    assert calls(tmp_path) == ["one", "two", "three", "two"]


def test_another_fingerprint_does_all_again(tmp_path: Path) -> None:
    do(tmp_path)
    assert find_receipts(UNITS, tmp_path, "other") == {}
    do(tmp_path, "other")
    assert len(calls(tmp_path)) == 6


def test_a_fingerprint_knows_settings_and_files_but_not_the_order_of_the_files(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("1")
    b.write_text("2")
    one = fingerprint_of("clean", {"x": 1}, [a, b])
    assert one == fingerprint_of("clean", {"x": 1}, [b, a])
    assert one != fingerprint_of("dedup", {"x": 1}, [a, b])
    assert one != fingerprint_of("clean", {"x": 2}, [a, b])
    assert one != fingerprint_of("clean", {"x": 1}, [a])
    b.write_text("22")
    assert one != fingerprint_of("clean", {"x": 1}, [a, b])


def test_a_fingerprint_knows_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    one, other = (tmp_path / os.fsdecode(name) for name in (b"caf\xe8", b"caf\xe9"))
    for path in (one, other):
        path.touch()
        os.utime(path, ns=(0, 0))
    assert fingerprint_of("mix", [one.name], [one]) != fingerprint_of("mix", [other.name], [other])


def test_shards_share_out_the_units_each_once() -> None:
    units = [Unit(str(number), {}) for number in range(10)]
    shards = [select_shard(units, f"{index}/3") for index in (1, 2, 3)]
    assert sorted((unit.name for shard in shards for unit in shard), key=int) == [u.name for u in units]
    assert [len(shard) for shard in shards] == [4, 3, 3]
    assert select_shard(units, None) == units


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "1/", "/3", "a/b", "-1/3", "1/3/5", ""])
def test_what_is_no_shard_is_refused(shard: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        select_shard(UNITS, shard)


def test_pieces_of_plain_jsonl_end_at_lines_and_give_the_file_when_joined(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [b"{%s}" % (b"x" * length) for length in (1, 30, 2, 2, 50, 1, 1)]
    path.write_bytes(b"\n".join(lines))  # no line feed at the end
    pieces = split_inputs([path], unit_bytes=20)
    parts = [path.read_bytes()[piece.start : piece.stop] for piece in pieces]
    before = [path.read_bytes()[: piece.start] for piece in pieces]
    assert [piece.first_line for piece in pieces] == [1 + content.count(b"\n") for content in before]
    assert b"".join(parts) == path.read_bytes() and len(parts) > 2
    assert all(part.endswith(b"\n") for part in parts[:-1])
    assert all(len(part.splitlines()[:-1] or [b""]) and len(part) >= 20 for part in parts[:-1])


@pytest.mark.parametrize("name", ["a.jsonl", "a", "A.JSONL"])
def test_a_piece_that_would_end_right_behind_a_line_takes_no_other(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b'{"a":1}\n' * 4)  # lines of eight bytes
    assert split_inputs([path], unit_bytes=16) == [Piece(str(path), 0, 16, 1), Piece(str(path), 16, 32, 3)]
    unread = split_inputs([path], unit_bytes=16, numbered=False)
    assert unread == [Piece(str(path), 0, 16, 1), Piece(str(path), 16, 32, 0)]


def test_compressed_and_other_files_are_one_piece_whatever_their_name(tmp_path: Path) -> None:
    line = b'{"text":"a"}\n' * 50
    contents = {
        "b/a.jsonl": line[:13],
        "a/b.jsonl.zst": zstandard.compress(line),
        "c.jsonl": zstandard.compress(line),
        "d.txt": line,
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / name for name in contents]
    expected = [Piece(str(path)) for path in paths]  # by name: the folder comes second
    assert split_inputs(reversed(paths), unit_bytes=16) == expected == split_inputs(paths, unit_bytes=16)
