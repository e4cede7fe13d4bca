"""One of prompt, content and messages; special tokens as each of the two servers has them."""

from typing import Any

import pytest

from llmkit.server.errors import ApiError
from llmkit.server.wire.tokenize import TokenizeRequest


def test_special_tokens_are_put_there_by_vllms_name_and_not_by_llama_cpps() -> None:
    assert TokenizeRequest(prompt="a").adds_special
    assert not TokenizeRequest(content="a").adds_special
    assert TokenizeRequest(content="a", add_special=True).adds_special
    assert not TokenizeRequest(prompt="a", add_special_tokens=False).adds_special


@pytest.mark.parametrize("given", [{}, {"prompt": "a", "content": "b"}, {"prompt": "a", "messages": []}])
def test_one_of_three_is_given(given: dict[str, object]) -> None:
    with pytest.raises(ApiError, match="one of prompt, content and messages"):
        TokenizeRequest(**given).check()  # type: ignore[arg-type]


@pytest.mark.parametrize("of_chats", [{"tools": [{}]}, {"chat_template_kwargs": {"thinking": True}}])
def test_what_is_said_to_a_template_is_for_messages(of_chats: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match="only with messages"):
        TokenizeRequest(prompt="a", **of_chats).check()
    TokenizeRequest(messages=[{"role": "user", "content": "a"}], **of_chats).check()
