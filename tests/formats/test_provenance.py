import json
from pathlib import Path

import pytest

from llmkit.errors import DataError
from llmkit.formats.provenance import Invocation, portable, read_provenance, write_provenance


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
