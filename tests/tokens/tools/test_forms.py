"""Published templates speak the form that their models do, and its special tokens show in texts."""

from pathlib import Path

import pytest
import tokenizers
from tokenizers import AddedToken

from llmkit.errors import ConfigError
from llmkit.tokens.stream import StreamDecoder
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.calls import FoundCall
from llmkit.tokens.tools.forms import form_of
from tests.tokens.test_answers import chat_tokenizer, published

PUBLISHED = {
    "CohereForAI-c4ai-command-r-plus-tool_use.jinja": "command-r",
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja": "hermes",
    "Qwen-Qwen2.5-7B-Instruct.jinja": "hermes",
    "qwen3.tokenizer_config.json": "hermes",
    "meta-llama-Llama-3.1-8B-Instruct.jinja": "llama",
    "mistralai-Mistral-Nemo-Instruct-2407.jinja": "mistral",
    "google-gemma-2-2b-it.jinja": "json",
    "microsoft-Phi-3.5-mini-instruct.jinja": "json",
}
TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(("name", "form"), PUBLISHED.items())
def test_a_template_says_how_its_model_calls(name: str, form: str, shared_data: Path) -> None:
    tokenizer = published(shared_data / "chat_templates", name)
    assert form_of(tokenizer).name == form
    assert form_of(tokenizer).in_words == (form == "json")
    assert form_of(tokenizer, "mistral-args").name == "mistral-args"


def test_a_form_that_there_is_not_is_refused_with_the_one_meant() -> None:
    with pytest.raises(ConfigError) as caught:
        form_of(chat_tokenizer("", "<end>"), "hermess")
    assert "hermess" in caught.value.problem and "'hermes'" in caught.value.hint


def test_a_model_that_is_asked_in_words_may_answer_in_either() -> None:
    form = form_of(chat_tokenizer("{{ messages[0].content }}<tool_call>", "<end>"))
    assert (form.name, form.in_words) == ("hermes", True)
    for told in (
        '{"name": "f", "arguments": {}}',
        '<tool_call>{"name": "f", "arguments": {}}</tool_call>',
    ):
        assert form.reader([TOOL]).push(told) == ("", (FoundCall("f", "{}"),))


def test_a_special_token_that_opens_a_call_is_not_left_out_of_the_text() -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.decoder = tokenizers.decoders.ByteLevel()
    letters = '[{"name": "f", "arguments": {}}]'.replace(" ", "")
    backend.add_tokens(sorted(set(letters)))
    backend.add_special_tokens([AddedToken("[TOOL_CALLS]", special=True), AddedToken("</s>", special=True)])
    tokenizer = Tokenizer(backend, {}, "[TOOL_CALLS]")
    form = form_of(tokenizer)
    mark, end = tokenizer.id_of("[TOOL_CALLS]"), tokenizer.id_of("</s>")
    assert form.shown == {mark} and mark is not None and end is not None
    decoder = StreamDecoder(tokenizer, skip_special=True, shown=form.shown)
    ids = [mark, *(backend.token_to_id(letter) for letter in letters), end]
    told = form.reader([TOOL]).push("".join([*map(decoder.push, ids), decoder.flush()]))
    assert told == ("", (FoundCall("f", "{}"),))


def test_the_template_for_tools_says_how_its_model_calls(shared_data: Path) -> None:
    name = "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja"
    tokenizer = published(shared_data / "chat_templates", name)
    own = tokenizer.with_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    assert form_of(own).name == "json"
    own.named_templates["tool_use"] = tokenizer.chat_template or ""
    assert form_of(own).name == "hermes" and not form_of(own).in_words
