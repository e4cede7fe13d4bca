"""Texts as ids: words, files, records, conversations, ids themselves, the probe."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from worded_models import VOCAB, with_words

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.tokens.chat import render_chat
from llmkit.workflows.inspect_attention.config import InspectText
from llmkit.workflows.inspect_attention.open import Inspected, InspectOptions, open_inspected
from llmkit.workflows.inspect_attention.text import Reading, read_text

CHAT = [{"role": "user", "content": "Which licence?"}, {"role": "assistant", "content": "Apache."}]


@pytest.fixture
def opened(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Inspected:
    folder = with_words(tiny_model(vocab_size=VOCAB, max_position_embeddings=64), byte_level_dir)
    return open_inspected(InspectOptions(model=folder))


@pytest.fixture
def records(tmp_path: Path) -> Path:
    rows: list[dict[str, Any]] = [
        {"id": "a", "text": "the Licence"},
        {"id": 7, "tokens": [5, 6, 7]},
        {"messages": CHAT},
        {"messages": CHAT[:1], "body": "words"},
    ]
    file = tmp_path / "docs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def read(opened: Inspected, **text: Any) -> Reading:
    return read_text(opened, InspectText(**text))


def test_words_are_encoded_as_they_are_and_cut(opened: Inspected) -> None:
    whole = read(opened, given="the Licence and the Work")
    assert whole.ids.tolist() == opened.tokenizer.encode("the Licence and the Work")
    assert "".join(one.text for one in whole.tokens) == "the Licence and the Work"
    assert [one.position for one in whole.tokens] == list(range(len(whole.ids))) and whole.source == "text"
    assert read(opened, given="the Licence and the Work", max_tokens=2).ids.tolist() == whole.ids.tolist()[:2]


def test_a_record_is_the_first_one_that_number_or_that_id(opened: Inspected, records: Path) -> None:
    first = read(opened, given=str(records))
    assert first.ids.tolist() == opened.tokenizer.encode("the Licence") and first.source == f"{records}:1"
    assert read(opened, given=str(records), record="a").ids.tolist() == first.ids.tolist()
    for name in ("2", "7"):
        assert read(opened, given=str(records), record=name).ids.tolist() == [5, 6, 7]
    assert read(opened, given=str(records), record="4", field="body").ids.tolist() == opened.tokenizer.encode(
        "words"
    )
    with pytest.raises(MissingError, match=r"no record 9 \(found 4\)"):
        read(opened, given=str(records), record="9")


def test_a_word_of_bytes_that_are_no_utf_8_is_a_file_or_refused(opened: Inspected, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the text is not UTF-8"):
        read(opened, given=os.fsdecode(b"caf\xe9"))
    path = tmp_path / os.fsdecode(b"caf\xe9")
    path.write_text("the License")
    assert read(opened, given=str(path)).ids.tolist() == read(opened, given="the License").ids.tolist()


def test_a_conversation_goes_through_the_template_with_the_answer_opened_where_there_is_none(
    opened: Inspected, records: Path
) -> None:
    answered = read(opened, given=str(records), record="3").ids.tolist()
    assert answered == opened.tokenizer.encode(render_chat(opened.tokenizer, CHAT))
    asked = read(opened, given=str(records), record="4").ids.tolist()
    rendered = render_chat(opened.tokenizer, CHAT[:1], add_generation_prompt=True)
    assert asked == opened.tokenizer.encode(rendered) and "assistant" in rendered


def test_ids_are_taken_as_they_are_and_must_be_the_models(opened: Inspected) -> None:
    assert read(opened, tokens=(1, 599)).ids.tolist() == [1, 599]
    with pytest.raises(DataError, match="token 600 is none of the model's 600"):
        read(opened, tokens=(1, 600))
    with pytest.raises(UsageError, match="65 tokens, the model has 64 positions"):
        read(opened, tokens=(1,) * 65)


def test_the_probe_is_random_tokens_twice_by_seed_and_fits_the_context(opened: Inspected) -> None:
    probe = read(opened, probe="induction", probe_tokens=10)
    ids = probe.ids.tolist()
    assert ids[0] == opened.tokenizer.bos_id and ids[1:11] == ids[11:] and probe.repeated == 10
    assert len(set(ids[1:11])) == 10 and probe.source == "probe induction"
    assert read(opened, probe="induction", probe_tokens=10).ids.tolist() == ids
    assert read(opened, probe="induction", probe_tokens=10, seed=1).ids.tolist() != ids
    assert read(opened, probe="induction").repeated == 31  # of 64 positions, bos has one


def test_an_empty_text_and_a_record_of_neither_kind_are_refused(opened: Inspected, tmp_path: Path) -> None:
    file = tmp_path / "empty.jsonl"
    file.write_text('{"other": 1}\n')
    with pytest.raises(
        DataError, match=r"empty\.jsonl:1: no 'text', 'messages' or 'tokens' \(found: other\)"
    ):
        read(opened, given=str(file))
    file.write_text('{"tokens": []}\n')
    with pytest.raises(UsageError, match="no tokens in it"):
        read(opened, given=str(file))
    file.write_text("")
    for nothing in (file, Path(os.devnull)):
        with pytest.raises(DataError, match="no text in it"):
            read(opened, given=str(nothing))
