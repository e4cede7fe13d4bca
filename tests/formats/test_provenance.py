import json
from pathlib import Path

import pytest

from llmkit.errors import DataError
from llmkit.formats.provenance import Invocation, WithPaths, portable, read_provenance, write_provenance


def test_a_record_is_read_back_and_holds_no_path_and_no_date(tmp_path: Path) -> None:
    invocation = Invocation(
        "pack",
        {"inputs": portable([Path("/home/me/docs.jsonl")]), "seq_len": 512, "seed": 3},
        ("docs.jsonl", "--seq-len", "512", "--seed", "3"),
    )
    write_provenance(
        tmp_path,
        invocation,
        inputs={"docs.jsonl": "ab"},
        tokenizer_sha256="cd",
        packages=("numpy", "none-such"),
    )
    record = read_provenance(tmp_path)
    assert record is not None
    assert record["command_line"] == "llmkit pack docs.jsonl --seq-len 512 --seed 3"
    assert record["seed"] == 3 and record["inputs"] == {"docs.jsonl": "ab"}
    assert record["versions"]["none-such"] is None and record["versions"]["numpy"]
    text = (tmp_path / "llmkit.json").read_text()
    assert "/home" not in text and str(tmp_path) not in text
    first = text
    write_provenance(
        tmp_path,
        invocation,
        inputs={"docs.jsonl": "ab"},
        tokenizer_sha256="cd",
        packages=("numpy", "none-such"),
    )
    assert (tmp_path / "llmkit.json").read_text() == first


def test_the_command_line_can_be_pasted_into_a_shell() -> None:
    assert (
        Invocation("bench tokenize", {}, ("my file", "$x")).command_line
        == "llmkit bench tokenize 'my file' '$x'"
    )


def test_a_folder_without_a_record_has_none_and_a_damaged_one_is_bad_data(tmp_path: Path) -> None:
    assert read_provenance(tmp_path) is None
    for content in (b"{", b"\xff", json.dumps([1]).encode()):
        (tmp_path / "llmkit.json").write_bytes(content)
        with pytest.raises(DataError, match=r"llmkit\.json"):
            read_provenance(tmp_path)


def test_a_command_keeps_the_names_of_files_and_no_place(tmp_path: Path) -> None:
    for name in ("judge.py", "my dir/judge.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def told(line: str) -> object:
        return portable(WithPaths(line.replace("HERE", str(tmp_path))))

    assert told("HERE/judge.py") == "judge.py"
    assert told("X=HERE/judge.py python HERE/judge.py --out=HERE/judge.py>log") == (
        "X=judge.py python judge.py --out=judge.py>log"
    )
    assert told("cd 'HERE/my dir' && python \"HERE/my dir/judge.py\" 2") == (
        "cd 'my dir' && python \"judge.py\" 2"
    )
    assert (
        told(r"python HERE/my\ dir/judge.py; sh -c 'HERE/judge.py 1'")
        == "python judge.py; sh -c 'judge.py 1'"
    )
    assert told("sed -u '/none/d; s/.*/0.5/' a/b ../c") == "sed -u '/none/d; s/.*/0.5/' a/b ../c"
    assert portable(str(tmp_path)) == str(tmp_path)  # a text: a prompt, say
