"""The stream of examples: order kept, memory bounded, inputs of every kind."""

import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmkit.errors import DataError, MissingError
from llmkit.formats.jsonl import decode_all
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.supervise import Supervisor
from llmkit.tokens.supervise_config import SuperviseConfig
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.finetune.audit import RejectLog
from llmkit.workflows.finetune.stream import Stream, is_held_out, read_lines
from llmkit.workflows.pretrain.data import spooled_files


def stream(tokenizer: Tokenizer, log: RejectLog | None = None) -> Stream:
    return Stream(
        supervisor=Supervisor(tokenizer),
        kind="answer",
        config=SuperviseConfig(),
        limit=64,
        log=log or RejectLog(),
    )


def test_texts_and_chats_come_out_in_their_order(byte_level_dir: Path, tmp_path: Path) -> None:
    records = [{"text": f"text {n}"} if n % 3 else {"prompt": f"{n}", "completion": "x"} for n in range(50)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    (tmp_path / "b.txt").write_text("A file of text.")
    found = list(stream(load_tokenizer(byte_level_dir)).examples([tmp_path / "a.jsonl", tmp_path / "b.txt"]))
    assert [one.line.number for one in found] == [*range(1, 51), 0]
    assert [one.example.shape for one in found[:3]] == ["prompt-completion", "text", "text"]


def test_records_are_read_as_examples_are_taken(
    byte_level_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmkit.workflows.finetune import stream as finetune_stream

    (tmp_path / "a.jsonl").write_text("".join(f'{{"text": "{"x" * 1000} {n}"}}\n' for n in range(5000)))
    taken = 0

    def counted(path: Path, **more: object) -> Iterator[object]:
        nonlocal taken
        for line in read_records(path, **more):
            taken += 1
            yield line

    read_records = finetune_stream.read_records
    monkeypatch.setattr(finetune_stream, "read_records", counted)
    monkeypatch.setattr("llmkit.tokens.encode.cores", lambda: 2)
    examples = stream(load_tokenizer(byte_level_dir)).examples([tmp_path / "a.jsonl"])
    next(examples)
    assert taken < 1500  # a few batches of 128 KiB
    examples.close()  # type: ignore[attr-defined]


def test_a_malformed_line_is_an_error_or_passed_over(byte_level_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n[1]\n')
    tokenizer = load_tokenizer(byte_level_dir)
    with pytest.raises(DataError, match=r"a.jsonl:2: not a JSON object"):
        list(stream(tokenizer).examples([tmp_path / "a.jsonl"]))
    log = RejectLog(skip_bad=True)
    assert len(list(stream(tokenizer, log).examples([tmp_path / "a.jsonl"]))) == 1
    assert log.count == 1


@pytest.mark.parametrize("content", ['{"text": "a"}\n[1]\n', ""])
def test_a_line_of_stdin_is_rejected_as_stdins_and_one_of_a_named_pipe_as_that_pipes(
    tmp_path: Path, byte_level_dir: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content.encode()))))
    writer = threading.Thread(target=pipe.write_text, args=(content,))
    writer.start()
    with (
        (tmp_path / "rejects").open("wb") as rejects,
        spooled_files([Path("-"), pipe], tmp_path) as (files, _),
    ):
        list(stream(load_tokenizer(byte_level_dir), RejectLog(rejects)).examples(files))
    writer.join()
    found = [json.loads(line)["_reject"]["file"] for line in (tmp_path / "rejects").read_text().splitlines()]
    assert list(dict.fromkeys(found)) == ["stdin", str(pipe)]
    assert {file.name for file in tmp_path.iterdir()} == {"pipe", "rejects"}


@pytest.mark.parametrize(
    ("content", "command"), [('[{"text": "a"}]', "jq -c '.[]' "), ('{\n"text": "a"\n}', "jq -c . makes")]
)
def test_json_that_is_no_lines_is_told_how_to_become_some(tmp_path: Path, content: str, command: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError) as error:
        list(read_lines([tmp_path / "a.json"], RejectLog()))
    assert error.value.hint.startswith(command)


def test_records_under_a_name_that_says_nothing_are_no_single_text(tmp_path: Path) -> None:
    (tmp_path / "chats").write_text('{"text": "a"}\n{"text": "b"}\n')
    assert len(list(read_lines([tmp_path / "chats"], RejectLog()))) == 2


def test_rows_of_parquet_are_read_as_the_same_records_are(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}
    path = tmp_path / "a.parquet"
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist([row] * 2), path)
    lines = list(read_lines([path], RejectLog()))
    assert [line.where for line in lines] == [f"{path}:1", f"{path}:2"]
    assert decode_all(lines[0]) == row


def test_messages_without_a_template_name_their_line(byte_level_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}]}\n')
    tokenizer = load_tokenizer(byte_level_dir)
    plain = Tokenizer(tokenizer.backend, tokenizer.config, None)
    with pytest.raises(MissingError, match=r"a.jsonl:1: messages need a chat template"):
        list(stream(plain).examples([tmp_path / "a.jsonl"]))


def test_a_share_is_held_out_by_the_digest() -> None:
    assert not is_held_out(bytes(16), 0.0) and is_held_out(bytes(16), 1e-9)
    half = bytes(8) + (2**63).to_bytes(8, "little")
    assert not is_held_out(half, 0.5) and is_held_out(half, 0.5001)


def test_a_line_that_is_a_list_of_messages_is_a_conversation(byte_level_dir: Path, tmp_path: Path) -> None:
    """As nanochat's identity_conversations.jsonl has them."""
    said = [{"role": "user", "content": "who?"}, {"role": "assistant", "content": "me"}]
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(said) + "\n" + json.dumps({"messages": said[::-1]}) + "\n")
    found = [example for _, _, example in stream(load_tokenizer(byte_level_dir)).found([path])]
    assert [example.answers[0].messages for example in found] == [said, said[::-1]]
