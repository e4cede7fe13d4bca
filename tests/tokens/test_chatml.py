"""The ChatML template, against text written by hand and transformers' rendering."""

from typing import Any

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import models

from llmkit.tokens.chat import render_chat
from llmkit.tokens.chatml import chatml_template
from llmkit.tokens.tokenizer import Tokenizer

CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": " Be brief. \n"},
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "content": "4"},
]
WRITTEN = (
    "<|im_start|>system\n Be brief. \n<|im_end|>\n"
    "<|im_start|>user\n2 + 2?<|im_end|>\n"
    "<|im_start|>assistant\n4<|im_end|>\n"
)


def _tokenizer(*, bos: bool) -> Tokenizer:
    config = {"bos_token": "<s>"} if bos else {}
    return Tokenizer(Backend(models.BPE()), config, chatml_template(bos=bos))


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("prompt", [False, True])
def test_a_chat_reads_as_chatml_is_written(bos: bool, prompt: bool) -> None:
    rendered = render_chat(_tokenizer(bos=bos), CHAT, add_generation_prompt=prompt)
    assert rendered == "<s>" * bos + WRITTEN + "<|im_start|>assistant\n" * prompt


def test_another_token_can_end_a_turn() -> None:
    tokenizer = Tokenizer(Backend(models.BPE()), {}, chatml_template(bos=False, turn_end="</s>"))
    assert render_chat(tokenizer, CHAT) == WRITTEN.replace("<|im_end|>", "</s>")


def test_transformers_renders_the_same_and_knows_what_the_assistant_wrote() -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    (theirs,), (spans,) = render_jinja_template(
        [CHAT], chat_template=chatml_template(bos=True), return_assistant_tokens_mask=True, bos_token="<s>"
    )
    assert theirs == render_chat(_tokenizer(bos=True), CHAT)
    assert [theirs[start:end] for start, end in spans] == ["4<|im_end|>"]
