"""What figures must have in common: by content and settings, never by names of files or models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmkit.errors import DataError
from llmkit.formats.digest import digest_bytes
from llmkit.formats.documents import read_documents
from llmkit.probe.evaluate.config import PplConfig
from llmkit.workflows.eval.ppl import eval_ppl
from llmkit.workflows.eval.scorer import ModelOptions
from llmkit.workflows.eval.work import INPUTS, check_same, digest_all, digest_document

Make = Callable[..., Path]


def _work(folder: Path, text: Path, **config: Any) -> dict[str, Any]:
    return eval_ppl(ModelOptions(model=folder), [text], PplConfig(**config)).work


def test_the_same_text_under_another_name_for_another_model_is_the_same_work(
    spelled_model: Make, tmp_path: Path
) -> None:
    for name, content in {"a.txt": "You must give", "b.txt": "You must give", "c.txt": "You may add"}.items():
        (tmp_path / name).write_text(content)
    folder = spelled_model()
    first = _work(folder, tmp_path / "a.txt")
    assert first == _work(spelled_model("m2", rope_theta=100.0), tmp_path / "b.txt")
    assert first[INPUTS] != _work(folder, tmp_path / "c.txt")[INPUTS]
    assert first[INPUTS] == digest_bytes(digest_bytes(b"You must give").encode())
    few = _work(folder, tmp_path / "a.txt", window=4)
    assert {key for key in first if first[key] != few[key]} == {"window", "stride"}


def test_a_chat_is_what_was_said_whatever_a_template_makes_of_it(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    messages = '[{"role": "user", "content": "hi"}]'
    path.write_text('{"id": 1, "messages": ' + messages + ', "text": "hi"}\n')
    (document,) = read_documents([path])
    assert digest_document(document, "text") == digest_bytes(b"hi")
    assert digest_document(document, "messages") == digest_bytes(messages.encode())


def test_digests_of_parts_know_their_order() -> None:
    assert digest_all(["a", "b"]) != digest_all(["b", "a"])


@pytest.mark.parametrize("key", ["inputs_sha256", "reference_sha256", "lengths", "extract"])
def test_what_differs_is_named(key: str) -> None:
    work = {"inputs_sha256": "a", "reference_sha256": "a", "lengths": (1, 2), "extract": None}
    told = json.loads(msgspec.json.encode(work))
    check_same(work, {"work": told}, "b.json", "this run")
    with pytest.raises(DataError) as caught:
        check_same(work, {"work": {**told, key: "x"}}, "b.json", "this run")
    expected = {
        "inputs_sha256": "b.json: of other inputs than this run",
        "reference_sha256": "b.json: beside another reference than this run",
        "lengths": 'b.json: lengths is "x" there, and [1,2] in this run',
        "extract": 'b.json: extract is "x" there, and not given in this run',
    }
    assert caught.value.problem == expected[key]


def test_a_report_from_before_tells_what_it_has_at_its_top() -> None:
    check_same({"inputs_sha256": "a", "window": 64}, {"window": 64}, "b.json", "this run")
    with pytest.raises(DataError, match="window is 32"):
        check_same({"inputs_sha256": "a", "window": 64}, {"window": 32}, "b.json", "this run")
