"""Tokenizers side by side: every figure by hand, from one where a byte is a token and one of words."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from llmkit.formats.documents import Document
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.tokenize import compare as tokenize_compare
from llmkit.workflows.tokenize.compare import group_of, name_of, names_of, write_comparison
from llmkit.workflows.tokenize.run import Run

MakeRun = Callable[..., Run]


@pytest.fixture
def words() -> Tokenizer:
    """A word is a token."""
    backend = Backend(WordLevel({"?": 0}, unk_token="?"))
    backend.pre_tokenizer = WhitespaceSplit()
    return Tokenizer(backend)


@pytest.fixture
def compared(make_run: MakeRun, words: Tokenizer) -> Callable[..., bytes]:
    """What is written of some documents, by bytes and by words."""

    def call(*documents: str | Document, **config: Any) -> bytes:
        run = make_run(*documents, mode="compare", **config)
        write_comparison(run, [("words", words)], "bytes")
        content: bytes = run.stream.getvalue()  # type: ignore[attr-defined]
        return content

    return call


def _record(text: str, **fields: Any) -> Document:
    record = {key: msgspec.Raw(msgspec.json.encode(value)) for key, value in fields.items()}
    return Document("d", text, "d.jsonl", 1, record)


def test_the_figures_are_those_that_can_be_counted(compared: Callable[..., bytes]) -> None:
    lines = compared("née née", row_format="jsonl", prices=(1.0, 50.0)).splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            **{"group": "0.txt", "tokenizer": "bytes", "tokens": 9, "bytes": 9, "bytes_per_token": 1.0},
            **{"tokens_per_word": 4.5, "ratio": 1.0, "cost": 9e-6},
        },
        {
            **{"group": "0.txt", "tokenizer": "words", "tokens": 2, "bytes": 9, "bytes_per_token": 4.5},
            **{"tokens_per_word": 1.0, "ratio": 2 / 9, "cost": 1e-4},
        },
    ]


def test_a_table_shows_each_file_and_all_together(compared: Callable[..., bytes]) -> None:
    assert compared("née née", "x" * 1991, prices=(2.0,)).decode() == (
        "group  tokenizer  tokens  bytes  bytes/token  tokens/word  ratio      cost\n"
        "0.txt  bytes           9      9        1.000        4.500  1.000  0.000018\n"
        "0.txt  words           2      9        4.500        1.000  0.222  0.000004\n"
        "1.txt  bytes       1,991  1,991        1.000     1991.000  1.000  0.003982\n"
        "1.txt  words           1  1,991     1991.000        1.000  0.001  0.000002\n"
        "total  bytes       2,000  2,000        1.000      666.667  1.000  0.004000\n"
        "total  words           3  2,000      666.667        1.000  0.002  0.000006\n"
    )


def test_one_group_needs_no_total_and_no_price_no_cost(compared: Callable[..., bytes]) -> None:
    assert compared("ab").decode() == (
        "group  tokenizer  tokens  bytes  bytes/token  tokens/word  ratio\n"
        "0.txt  bytes           2      2        1.000        2.000  1.000\n"
        "0.txt  words           1      2        2.000        1.000  0.500\n"
    )
    assert compared() == b""


def test_what_cannot_be_divided_is_left_open(compared: Callable[..., bytes]) -> None:
    assert compared("").decode().splitlines()[1].split() == ["0.txt", "bytes", "0", "0", "-", "-", "-"]
    assert compared("", row_format="tsv").splitlines()[0] == b"0.txt\tbytes\t0\t0\t\t\t"
    row = json.loads(compared("", row_format="jsonl").splitlines()[0])
    assert row["bytes_per_token"] is row["tokens_per_word"] is row["ratio"] is None


def test_groups_are_told_by_a_key_and_keep_the_order_of_their_first_text(
    compared: Callable[..., bytes],
) -> None:
    documents = [_record("bb", lang="de"), _record("a", lang="en"), _record("cc c", lang="de"), "x"]
    report = json.loads(compared(*documents, by="lang", row_format="json"))
    assert report["schema"] == "llmkit.tokenize/1"
    assert [(row["group"], row["tokenizer"], row["tokens"]) for row in report["rows"]] == [
        *(("de", "bytes", 6), ("de", "words", 3), ("en", "bytes", 1), ("en", "words", 1)),
        *(("(none)", "bytes", 1), ("(none)", "words", 1)),
    ]
    assert [(row["group"], row["tokens"]) for row in report["total"]] == [("total", 8), ("total", 5)]


def test_small_batches_give_what_one_gives_and_read_each_document_once(
    compared: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"{'x' * number} y" for number in range(40)]
    whole = compared(*texts)
    monkeypatch.setattr(tokenize_compare, "BATCH_CHARACTERS", 50)
    assert compared(*texts) == whole


def test_totals_of_the_run_are_those_of_its_own_tokenizer(make_run: MakeRun, words: Tokenizer) -> None:
    run = make_run("a b", "c", mode="compare")
    write_comparison(run, [("words", words)], "bytes")
    assert (run.totals.documents, run.totals.tokens, run.totals.bytes) == (2, 4, 4)


@pytest.mark.parametrize(
    ("by", "group"),
    [
        ("lang", "de"),
        ("metadata.year", "1999"),
        ("metadata.tags.0", "(none)"),
        ("metadata.deep.er", "yes"),
        ("metadata.none", "(none)"),
        ("lang.deeper", "(none)"),
        ("absent", "(none)"),
        ("damaged", "(none)"),
        ("file", "d.jsonl"),
    ],
)
def test_a_group_is_found_at_its_key_however_deep(by: str, group: str) -> None:
    metadata = {"year": 1999, "tags": ["a"], "deep": {"er": "yes"}, "none": None}
    document = _record("x", lang="de", metadata=metadata)
    document.record["damaged"] = msgspec.Raw(b'"\xff"')
    assert group_of(document, by) == group


def test_a_text_given_as_such_is_a_group_of_its_own() -> None:
    assert group_of(Document("i", "x", "", 0), "file") == "--text"


def test_a_file_name_that_is_not_utf8_keeps_its_bytes_and_is_told_in_json(
    compared: Callable[..., bytes],
) -> None:
    document = Document("i", "ab", os.fsdecode(b"\xff\t.txt"), 0)
    assert compared(document).splitlines()[1].startswith(b"\xff\t.txt  bytes")
    assert compared(document, row_format="tsv").startswith(b"\xff\\t.txt\tbytes\t2\t2\t1\t2\t1\n")
    assert json.loads(compared(document, row_format="jsonl").splitlines()[0])["group"] == "\\xff\t.txt"


def test_a_tokenizer_is_called_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "llama"
    folder.mkdir()
    assert name_of(folder) == name_of(folder / "tokenizer.json") == "llama"
    assert name_of(folder / "tokenizer.model") == "tokenizer.model"
    assert name_of(Path("cl100k_base.tiktoken")) == "cl100k_base.tiktoken"
    monkeypatch.chdir(folder)
    assert name_of(Path()) == name_of(Path("tokenizer.json")) == "llama"
    assert name_of(Path("..")) == tmp_path.name
    assert names_of([Path("a/tok"), Path("b/tok"), Path("c")]) == ["a/tok", "b/tok", "c"]
