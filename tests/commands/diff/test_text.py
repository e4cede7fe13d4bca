"""The report of `llmkit diff` as text."""

from pathlib import Path
from typing import Any

from llmkit.commands.diff.text import config_lines, diff_text, shards_lines, verdict
from llmkit.workflows.diff.config import ConfigDiff, MovedKeys, OneSided
from llmkit.workflows.diff.diff import DiffReport, SideReport
from llmkit.workflows.diff.keys import KeyDiff
from llmkit.workflows.diff.shards import FirstDocument, FirstRow, ShardsDiff
from llmkit.workflows.diff.tensors import TensorForm, TensorsDiff

KEY = KeyDiff(file="config.json", key="hidden_size", a=8, b=16, only=None)


def report(**parts: Any) -> DiffReport:
    sides = {name: SideReport(path=str(Path("folder") / name), kind="model") for name in ("a", "b")}
    return DiffReport(**sides, **{"same": False, "missing": []} | parts)


def config(**fields: Any) -> ConfigDiff:
    known = {"same": True, "files": ["config.json"], "missing": [], "keys": [], "moved": None, "remarks": []}
    return ConfigDiff(**known | fields)


def shards(**fields: Any) -> ShardsDiff:
    known = {"same": False, "index": [], "files_a": 1, "files_b": 1, "rows_compared": 9, "rows_differing": 0}
    return ShardsDiff(**known | {"first_row": None, "first_document": None} | fields)


def test_short_parts_stand_together_under_the_two_paths() -> None:
    text = diff_text(report(same=True, config=config()), width=80)
    assert text == "A  folder/a: model\nB  folder/b: model\n\nconfig: same\nsame"


def test_the_verdict_names_every_part_that_differs() -> None:
    form = TensorForm(name="x", dtype="F32", shape=[1])
    tensors = TensorsDiff(
        **{"same": False, "in_both": 0, "only_a": [form, form], "only_b": [form], "prefix": None, "tied": []},
        **{"changed": [], "values": 0, "differing_values": 0, "max_abs": None, "max_tensor": None},
    )
    parts = {"tensors": tensors, "config": config(same=False, keys=[KEY]), "shards": shards()}
    found = report(missing=[OneSided(file="tokenizer", only="a")], **parts)
    assert (
        verdict(found)
        == "no tokenizer in B, 2 tensors only in A, 1 tensor only in B, 1 config key, the shards"
    )
    assert diff_text(found, width=80).endswith(f"\n\ndiffer: {verdict(found)}")
    assert "\ntokenizer: only in A\n" in diff_text(found, width=80)


def test_a_config_tells_keys_forms_and_what_does_not_count() -> None:
    version = KeyDiff(file="config.json", key="transformers_version", a="4.0", b="5.0", only=None)
    found = config(
        same=False, keys=[KEY], remarks=[version], moved=MovedKeys(a=["torch_dtype"], b=["dtype"]),
        missing=[OneSided(file="generation_config.json", only="b")],
    )  # fmt: skip
    lines = config_lines(found, 100)
    assert lines[0] == "config: generation_config.json only in B, 1 key of config.json"
    assert lines[1].split() == ["key", "A", "B"] and lines[2].split() == ["hidden_size", "8", "16"]
    assert "A says torch_dtype; B says dtype" in lines[3]
    assert '"4.0" and "5.0" (does not count)' in lines[4]


def test_shards_tell_the_first_row_and_document_or_that_rows_are_alike() -> None:
    row = FirstRow(row=1234, differs_in=["tokens", "loss"], position=3, token_a=17, token_b=99)
    document = FirstDocument(number=4, a='{"id":"4"}', b=None)
    found = shards(rows_differing=2, first_row=row, first_document=document, files_b=2)
    text = "\n".join(shards_lines(found, 100))
    assert "2 of 9 differ" in text and "row 1,234 at 3 (id 17 in A, 99 in B): tokens, loss" in text
    assert "line 5 of the documents" in text and '{"id":"4"}' in text and "no such line" in text
    assert "1 in A, 2 in B (does not count)" in text
    assert "the 9 rows that both have are the same" in "\n".join(shards_lines(shards(), 100))
    assert "not compared" in "\n".join(shards_lines(shards(rows_compared=0), 100))


def test_what_made_them_is_listed_apart() -> None:
    made = [KeyDiff(file="llmkit.json", key="seed", a=0, b=1, only=None)]
    text = diff_text(report(same=True, provenance=made), width=80)
    assert "made by (no difference by itself)\n  key   A  B\n  seed  0  1\n\nsame" in text
