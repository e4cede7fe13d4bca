"""What a model thinks is told apart, and bounded, where its template and tokenizer allow that."""

from dataclasses import replace

import pytest
import tokenizers

from llmkit.engine.config import SamplingConfig
from llmkit.server.ask import Ask
from llmkit.server.errors import ApiError
from llmkit.server.thinking import Thinking
from llmkit.tokens.tokenizer import Tokenizer

ASK = Ask(kind="chat", model="tiny", sampling=SamplingConfig())
BOUNDED = replace(ASK, thinking_budget=3)
HELD = replace(ASK, sampling=SamplingConfig(regex="yes"))


def thinking(tokenizer: Tokenizer, *added: str, template: str = "<think>", told: bool = True) -> Thinking:
    """Of the tokenizer with some tokens more, and another template."""
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    backend.add_tokens([tokenizers.AddedToken(one, special=False) for one in added])
    changed = Tokenizer(backend, {}, template)
    return Thinking(changed, changed.vocab_size, is_told_apart=told)


def test_marks_that_are_no_tokens_tell_thoughts_apart_but_cannot_free_or_bound_them(
    tokenizer: Tokenizer,
) -> None:
    plain = thinking(tokenizer)
    assert plain.place(ASK, "hello <think>\n") == "within" and plain.form(HELD) is None
    with pytest.raises(
        ApiError, match=r"^thinking_token_budget: is for models that have <think> and </think>"
    ):
        plain.grammar(None, BOUNDED, "within")
    marked = thinking(tokenizer, "<think>", "</think>")
    assert marked.form(HELD) is not None and marked.grammar(None, BOUNDED, "within") is not None


def test_a_budget_is_refused_where_thoughts_are_left_in_the_text(tokenizer: Tokenizer) -> None:
    with pytest.raises(ApiError, match="left in the text"):
        thinking(tokenizer, "<think>", "</think>", told=False).grammar(None, BOUNDED, None)


def test_a_template_without_thoughts_has_nothing_to_bound(tokenizer: Tokenizer) -> None:
    silent = thinking(tokenizer, template="{{ messages }}")
    assert silent.place(BOUNDED, "hello") is None and silent.grammar(None, BOUNDED, None) is None
