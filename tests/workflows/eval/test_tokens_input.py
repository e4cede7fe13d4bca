"""What is read, and the ids that are scored: answers begin where their prompt ends."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError, MissingError
from llmkit.workflows.eval.scorer import Scorer
from llmkit.workflows.eval.tokens_input import Sample, encode_sample, read_samples


def _rows(path: Path, *rows: dict[str, Any]) -> list[Sample]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(read_samples(None, path, chat=False))


def test_a_text_a_file_and_rows_are_read(tmp_path: Path) -> None:
    (one,) = read_samples("a text", None, chat=False)
    assert one.prompt == "a text" and one.answer is None
    (tmp_path / "f.txt").write_text("of a file\n")
    (two,) = read_samples(None, tmp_path / "f.txt", chat=False)
    assert two.prompt == "of a file"
    (three,) = read_samples("hi", None, chat=True)
    assert three.messages == [{"role": "user", "content": "hi"}]
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows = _rows(
        tmp_path / "r.jsonl",
        {"id": 7, "text": "t"},
        {"prompt": "p", "completion": "c"},
        {"messages": talk},
        {"messages": talk[:1], "completion": "d"},
    )
    assert [(one.id, one.prompt, one.answer) for one in rows] == [
        ("7", "t", None), ("1", "p", "c"), ("2", "", "a"), ("3", "", "d"),
    ]  # fmt: skip
    assert rows[2].messages == rows[3].messages == talk[:1]


def test_records_without_a_text_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"r.jsonl:1: no text, prompt or messages \(found: x\)"):
        _rows(tmp_path / "r.jsonl", {"x": 1})
    with pytest.raises(DataError, match="is no text"):
        _rows(tmp_path / "r.jsonl", {"messages": [{"role": "assistant", "content": None}]})
    with pytest.raises(MissingError):
        list(read_samples(None, tmp_path / "nowhere", chat=False))
    (tmp_path / "bad").write_bytes(b"\xff")
    with pytest.raises(DataError, match="not UTF-8"):
        list(read_samples(None, tmp_path / "bad", chat=False))


def test_the_answer_begins_where_the_prompt_ends(scorer: Scorer) -> None:
    encode = scorer.encoder.encode
    found = encode_sample(Sample("", "", {}, "You must give ", answer="any other"), scorer, None)
    assert found.ids == encode("You must give any other") and found.ids[: found.start] == encode(
        "You must give"
    )
    bare = encode_sample(Sample("", "", {}, "You must"), scorer, None)
    assert (bare.ids, bare.start, bare.with_passage) == (encode("You must"), 0, [])


def test_a_passage_stands_before_the_prompt_and_the_answer_keeps_its_ids(scorer: Scorer) -> None:
    encode = scorer.encoder.encode
    found = encode_sample(Sample("", "", {}, "You must", answer=" give"), scorer, "A passage. ")
    answer = found.ids[found.start :]
    assert found.with_passage == encode("A passage.\n\nYou must") + answer
    alone = encode_sample(Sample("", "", {}, "You must"), scorer, "A passage.")
    assert alone.ids == [scorer.tokenizer.bos_id, *encode("You must")] and alone.start == 1
    assert alone.with_passage == encode("A passage.\n\n") + encode("You must")


def test_in_a_conversation_it_stands_before_the_last_users_words(scorer: Scorer) -> None:
    sample = Sample("", "", {}, messages=[{"role": "user", "content": "q"}], answer="a")
    found = encode_sample(sample, scorer, "P")
    decode = scorer.tokenizer.decode
    assert decode(found.ids) == "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na"
    assert decode(found.with_passage) == "<|im_start|>user\nP\n\nq<|im_end|>\n<|im_start|>assistant\na"
    assert decode(found.ids[found.start :]) == "a"


def test_a_conversation_is_read_as_generate_reads_it_with_its_tools(scorer: Scorer, tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "what is "}, {"type": "text", "text": "it?"}]
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
    talk = [{"role": "user", "content": parts}, {"role": "assistant", "content": parts[1:]}]
    plain, told = _rows(tmp_path / "r.jsonl", {"messages": talk}, {"messages": talk, "tools": [tool]})
    decode = scorer.tokenizer.decode
    asked = "<|im_start|>user\nwhat is it?<|im_end|>\n<|im_start|>assistant\n"
    assert decode(encode_sample(plain, scorer, None).ids) == f"{asked}it?"
    with_tools = decode(encode_sample(told, scorer, None).ids)
    assert "look_up" in with_tools and with_tools.endswith(f"{asked}it?")
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
    with pytest.raises(DataError, match=r"r\.jsonl:1: messages\[0\]\.content\[0\]: of type 'image_url'"):
        _rows(tmp_path / "r.jsonl", {"messages": [image]})


@pytest.mark.parametrize(
    ("sample", "says"),
    [
        (Sample("", "w", {}, "p", answer=""), "w: an empty answer"),
        (Sample("", "w", {}, messages=[{"role": "user", "content": "q"}]), "w: no answer"),
        (Sample("", "w", {}, messages=[{"role": "system", "content": "s"}], answer="a"), "w: no user"),
    ],
)
def test_a_passage_without_something_to_compare_is_refused(scorer: Scorer, sample: Sample, says: str) -> None:
    with pytest.raises(DataError, match=says):
        encode_sample(sample, scorer, "P")
