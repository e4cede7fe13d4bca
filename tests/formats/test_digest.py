import hashlib
import os
import subprocess
from pathlib import Path

from llmkit.formats.digest import content_id, digest_bytes, digest_file, digest_inputs, digest_path


def _sha256sum(path: Path) -> str:
    return subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]


def test_digests_equal_sha256sum(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 1000)
    assert digest_file(path) == digest_path(path) == digest_bytes(b"abc" * 1000) == _sha256sum(path)


def test_a_folder_is_its_names_and_contents_not_its_place(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place / "sub").mkdir(parents=True)
        (tmp_path / place / "sub" / "a").write_text("a")
        (tmp_path / place / "b").write_text("b")
    first = digest_path(tmp_path / "one")
    assert first == digest_path(tmp_path / "two")
    (tmp_path / "two" / "b").rename(tmp_path / "two" / "c")
    assert digest_path(tmp_path / "two") != first


def test_a_folder_may_hold_names_that_are_not_utf_8(tmp_path: Path) -> None:
    name = b"caf\xe9.txt"
    (tmp_path / os.fsdecode(name)).write_text("a")
    line = name + b"\0" + hashlib.sha256(b"a").hexdigest().encode() + b"\n"
    assert digest_path(tmp_path) == hashlib.sha256(line).hexdigest()


def test_a_content_id_is_the_start_of_the_texts_digest() -> None:
    assert content_id("é") == digest_bytes("é".encode())[:16]


def test_inputs_are_called_by_their_bare_names_and_none_is_lost(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_text(folder)
    paths = [tmp_path / "a" / "x", tmp_path / "b" / "x", tmp_path / "a"]
    digests = digest_inputs(paths)
    assert digests == {
        "x": hashlib.sha256(b"a").hexdigest(),
        "x (2)": hashlib.sha256(b"b").hexdigest(),
        "a": digest_path(tmp_path / "a"),
    }
