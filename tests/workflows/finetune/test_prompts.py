"""Prompts of records of any shape."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError, MissingError
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.supervise_config import SuperviseConfig
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.finetune.prompts import Prompts, open_prompts

USER = {"role": "user", "content": "Hi"}


@pytest.fixture
def tokenizer(byte_level_dir: Path) -> Tokenizer:
    return load_tokenizer(byte_level_dir)


def opened(
    records: list[dict[str, Any]], tokenizer: Tokenizer, folder: Path, config: SuperviseConfig | None = None
) -> Prompts:
    (folder / "p.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    return open_prompts(
        [folder / "p.jsonl"], tokenizer, config or SuperviseConfig(), max_tokens=64, cache=folder / "cache"
    )


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Hi", "answer": 4},
        {"messages": [USER, {"role": "assistant", "content": "Hello"}]},
        {"prompt": "Hi", "completion": "Hello"},
        {"instruction": "Hi", "output": "Hello"},
        {"prompt": [USER], "chosen": "a", "rejected": "b"},
    ],
)
def test_each_shape_gives_its_prompt_and_keeps_its_record(
    record: dict[str, Any], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    found = opened([record], tokenizer, tmp_path)
    (prompt,) = found.prompts
    assert tokenizer.decode(prompt.ids) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert prompt.record == record
    assert (found.audit.examples, found.audit.tokens) == (1, len(prompt.ids))


def test_without_a_template_a_prompt_is_its_text_after_what_begins_one(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    plain = Tokenizer(tokenizer.backend, tokenizer.config, None)
    (prompt,) = opened([{"prompt": "The License"}], plain, tmp_path).prompts
    assert prompt.ids[-len(tokenizer.encode("The License")) :] == tokenizer.encode("The License")
    with pytest.raises(MissingError, match=r"p.jsonl:1: .*no chat template"):
        opened([{"messages": [USER]}], plain, tmp_path)


def test_what_is_no_prompt_is_counted(tokenizer: Tokenizer, tmp_path: Path) -> None:
    records = [{"prompt": "Hi"}, {"prompt": "Hi"}, {"text": "x"}, {"prompt": "x y z " * 60}]
    found = opened(records, tokenizer, tmp_path)
    assert len(found.prompts) == 1
    assert found.audit.faults == {"record.shape": 1, "long.dropped": 1, "record.duplicate": 1}
    with pytest.raises(DataError, match=r"p.jsonl:4: a prompt of \d+ tokens, 64 are the most"):
        opened(records, tokenizer, tmp_path, SuperviseConfig(long="error"))
    with pytest.raises(DataError, match="no examples to learn from"):
        opened(records[2:3], tokenizer, tmp_path)


def test_a_template_that_refuses_is_counted(tokenizer: Tokenizer, tmp_path: Path) -> None:
    template = "{{ raise_exception('no') if messages[0].content == 'no' else messages[0].content }}"
    picky = Tokenizer(tokenizer.backend, tokenizer.config, template)
    found = opened([{"prompt": "no"}, {"prompt": "yes"}], picky, tmp_path)
    assert (len(found.prompts), found.audit.faults) == (1, {"template.refused": 1})
