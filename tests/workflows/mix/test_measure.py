"""The first look: sizes in each unit, licences as a table names them, what the gate refuses."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from llmkit.errors import DataError
from llmkit.formats.digest import content_id
from llmkit.formats.documents import Document
from llmkit.formats.jsonl import raw
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.mix.measure import (
    FACTS,
    WORK,
    MeasureReport,
    MeasureTask,
    licence_name,
    measure_unit,
)
from llmkit.workflows.mix.options import MixSettings
from llmkit.workflows.units import Piece, Unit
from tests.workflows.mixing import mix, read_rows, write_rows

ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "naïve", "metadata": {"license": "mit"}},
    {"id": "b", "text": "four", "metadata": {"license": "GPL v3+"}},
    {"id": "c", "text": ""},
]


def measured(folder: Path, **settings: Any) -> tuple[Any, MeasureReport]:
    path = write_rows(folder / "in.jsonl", ROWS)
    with path.open("a") as stream:
        stream.write("no json\n")
    (folder / WORK).mkdir(exist_ok=True)
    task = MeasureTask(0, (Piece(str(path)),), MixSettings(sources=(), skips_bad=True, **settings))
    (output,), report = measure_unit(Unit("measure-0", msgspec.to_builtins(task)), folder)
    return np.fromfile(folder / output.path, FACTS), msgspec.convert(report, MeasureReport)


def test_a_document_has_its_size_in_bytes_documents_and_tokens(
    tmp_path: Path, byte_tokenizer: Tokenizer
) -> None:
    byte_tokenizer.save(tmp_path / "tok")
    by_bytes, report = measured(tmp_path)
    assert by_bytes["size"].tolist() == [6, 4, 0] == by_bytes["bytes"].tolist()
    assert (report.documents, report.bad_lines) == (3, 1)
    assert measured(tmp_path, by="documents")[0]["size"].tolist() == [1, 1, 1]
    tokens, _ = measured(tmp_path, by="tokens", tokenizer=str(tmp_path / "tok"))
    assert tokens["size"].tolist() == [6, 4, 0]  # a byte a token
    assert tokens["key"].tolist() == by_bytes["key"].tolist() and len(set(tokens["key"].tolist())) == 3


def test_licences_are_counted_under_their_ids_and_the_gate_takes_some_out(tmp_path: Path) -> None:
    facts, report = measured(tmp_path)
    assert report.licences == ["MIT", "GPL-3.0-or-later", "unknown"]
    assert facts["licence"].tolist() == [0, 1, 2] and report.refused == {}
    facts, report = measured(tmp_path, license_deny=("copyleft",))
    assert report.licences == ["MIT", "unknown"] and report.refused == {"GPL-3.0-or-later": 1}
    _, report = measured(tmp_path, require_license=True)
    assert report.refused == {"unknown": 1}


def test_what_is_no_licence_that_is_known_keeps_its_words() -> None:
    assert licence_name(Document("a", "", "f", 1, {"metadata": raw({"license": "ask me"})})) == "ask me"


def test_a_chat_is_measured_as_its_template_shows_it_and_taken_as_it_is(
    tmp_path: Path, byte_tokenizer: Tokenizer
) -> None:
    byte_tokenizer.save(tmp_path / "tok")
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]
    path = write_rows(tmp_path / "chat.jsonl", [{"messages": turns}, {"id": "c", "messages": turns[:1]}])
    tokens = {"by": "tokens", "tokenizer": str(tmp_path / "tok")}
    by_tokens = mix([f"chat={path}:1"], tmp_path / "t.jsonl", settings=tokens)
    shown = "<|im_start|>user\nHi<|im_end|>\n", "<|im_start|>assistant\nYes<|im_end|>\n"
    sizes = [len(one.replace("<|im_start|>", "1").replace("<|im_end|>", "1")) for one in shown]
    assert by_tokens.sources[0].size == 2 * sizes[0] + sizes[1]  # a marker is one token, else a byte is one
    by_bytes = mix([f"chat={path}:1"], tmp_path / "b.jsonl")
    assert by_bytes.sources[0].size == len(json.dumps(turns)) + len(json.dumps(turns[:1]))
    for name in ("t.jsonl", "b.jsonl"):
        rows = sorted(read_rows(tmp_path / name), key=lambda row: len(row["messages"]))
        assert [row["messages"] for row in rows] == [turns[:1], turns] and rows[0]["id"] == "c"
        assert rows[1]["id"] == content_id(json.dumps(turns))
    write_rows(path, [{"messages": "Hi"}])
    with pytest.raises(DataError, match="messages"):
        mix([f"chat={path}:1"], tmp_path / "bad.jsonl")
