"""One prompt as a request: what is put before it, what ends it, what it is held to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import DataError, MissingError
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.job import Job, open_job
from llmkit.workflows.generate.row import encoder_of, row_of_chat, row_of_ids, row_of_text

USER = {"role": "user", "content": "Hi"}


def _job(folder: Path, **settings: Any) -> Job:
    path = folder / "rows.jsonl"
    path.write_text(json.dumps({"tokens": [1]}) + "\n")
    return open_job(GenerateFiles(model=folder, jsonl=path), GenerateConfig(**settings))


def test_the_system_message_of_the_flag_gives_way_to_a_developers(spelled_model: Callable[..., Path]) -> None:
    job = _job(spelled_model(), system="Brief.")
    texts = [
        row_of_chat(job, messages, None, {}, job.sampling).text
        for messages in ([USER], [{"role": "developer", "content": "Own."}, USER])
    ]
    assert [text.split("<|im_end|>")[0] for text in texts if text] == [
        *("<|im_start|>system\nBrief.", "<|im_start|>system\nOwn."),
    ]


def test_a_chat_ends_with_its_turn_and_a_text_does_not(spelled_model: Callable[..., Path]) -> None:
    job = _job(spelled_model())
    chat, text = row_of_chat(job, [USER], None, {}, job.sampling), row_of_text(job, "Hi", {}, job.sampling)
    assert chat.request.stop_ids == encoder_of(job).turn_ends and text.request.stop_ids == frozenset()


def test_ids_need_no_tokenizer_and_must_be_the_models(tiny_model: Callable[..., Path]) -> None:
    job = _job(tiny_model())
    assert row_of_ids(job, [1, 2], {}, job.sampling).request.prompt == (1, 2)
    with pytest.raises(DataError, match="token id 600"):
        row_of_ids(job, [600], {}, job.sampling)
    with pytest.raises(MissingError, match="no tokenizer"):
        row_of_text(job, "Hi", {}, job.sampling)
