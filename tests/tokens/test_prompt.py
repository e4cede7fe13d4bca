"""Prompts as ids, beside the tokenizers library and transformers' chat templates."""

from pathlib import Path

import pytest

from llmkit.errors import DataError, MissingError
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tokenizer import Tokenizer

TEXTS = ("Once upon a time", " two  spaces ", "日本 🙂\n")


@pytest.mark.parametrize(
    "name", ["models/stories260K", "tokenizers/llama2", "tokenizers/gpt2", "tokenizers/qwen2"]
)
def test_a_plain_prompt_is_encoded_as_the_tokenizer_encodes_a_text(name: str, shared_data: Path) -> None:
    tokenizer = load_tokenizer(shared_data / name)
    for text in TEXTS:
        assert PromptEncoder(tokenizer).encode(text) == tokenizer.encode(text, special_tokens=True)


def test_an_eos_that_the_tokenizer_puts_after_a_text_is_not_put_after_a_prompt(shared_data: Path) -> None:
    tokenizer = load_tokenizer(shared_data / "tokenizers/t5-small")
    assert tokenizer.encode("a", special_tokens=True)[-1] == tokenizer.eos_id
    assert PromptEncoder(tokenizer).encode("a") == tokenizer.encode("a")


def test_both_ends_of_what_is_put_around_a_text_are_told_apart(byte_level_dir: Path) -> None:
    from llmkit.tokens.post import add_around

    tokenizer = load_tokenizer(byte_level_dir)
    add_around(tokenizer.backend, "<|im_start|>", "<|im_end|>")
    start, end = tokenizer.id_of("<|im_start|>"), tokenizer.id_of("<|im_end|>")
    inner = tokenizer.encode("the License")
    assert tokenizer.encode("the License", special_tokens=True) == [start, *inner, end]
    assert PromptEncoder(tokenizer).encode("the License") == [start, *inner]
    special = PromptEncoder(tokenizer, allow_special=True)
    assert special.encode("the License<|im_end|>") == [start, *inner, end]  # this one was asked for


def test_what_looks_like_a_special_token_is_text_unless_it_is_allowed(byte_level_dir: Path) -> None:
    tokenizer = load_tokenizer(byte_level_dir)
    end = tokenizer.id_of("<|endoftext|>")
    text = "a<|endoftext|>"
    assert end not in PromptEncoder(tokenizer).encode(text)
    assert tokenizer.decode(PromptEncoder(tokenizer).encode(text)) == text
    assert PromptEncoder(tokenizer, allow_special=True).encode(text)[-1] == end
    assert PromptEncoder(tokenizer).encode_rendered(text)[-1] == end


def test_a_conversation_that_begins_with_bos_begins_with_one(byte_level_dir: Path, shared_data: Path) -> None:
    encoder = PromptEncoder(load_tokenizer(shared_data / "models/stories260K"), allow_special=True)
    (bos,) = encoder.before_texts
    assert encoder.encode("<s>a").count(bos) == 2  # a plain prompt is taken at its word
    assert encoder.encode_marked("<s>a") == encoder.encode_rendered("<s>a")
    assert encoder.encode_marked("a") == encoder.encode("a")
    assert encoder.encode_marked("") == encoder.encode("") == encoder.encode_marked("<s>") == [bos]
    without = PromptEncoder(load_tokenizer(byte_level_dir), allow_special=True)
    twice = "<|im_start|><|im_start|>a"
    assert without.encode_marked(twice) == without.encode(twice)


@pytest.mark.parametrize(
    ("name", "piece"),
    [("models/stories260K", "<s>"), ("tokenizers/gpt2", "<|endoftext|>"), ("tokenizers/t5-small", "</s>")],
)
def test_an_empty_prompt_begins_with_bos_or_else_eos(name: str, piece: str, shared_data: Path) -> None:
    tokenizer = load_tokenizer(shared_data / name)
    assert PromptEncoder(tokenizer).encode("") == [tokenizer.id_of(piece)]


def test_an_empty_prompt_stays_empty_where_there_is_neither(shared_data: Path) -> None:
    assert PromptEncoder(load_tokenizer(shared_data / "models/char-gpt-shakespeare")).encode("") == []


def test_a_letter_that_the_vocabulary_lacks_is_bad_data(shared_data: Path) -> None:
    encoder = PromptEncoder(load_tokenizer(shared_data / "models/char-gpt-shakespeare"))
    assert len(encoder.encode("ROMEO:")) == 6
    with pytest.raises(DataError, match="cannot encode the prompt"):
        encoder.encode("ROMÉO:")


def test_a_chat_is_what_transformers_renders_and_encodes(byte_level_dir: Path) -> None:
    from transformers import AutoTokenizer

    messages = [{"role": "system", "content": "Brief."}, {"role": "user", "content": "the License?"}]
    encoder = PromptEncoder(load_tokenizer(byte_level_dir))
    theirs = AutoTokenizer.from_pretrained(byte_level_dir)
    text = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert encoder.render(messages) == text
    assert encoder.encode_rendered(text) == ids


def test_tools_are_told_in_words_where_the_template_knows_of_none(byte_level_dir: Path) -> None:
    encoder = PromptEncoder(load_tokenizer(byte_level_dir))
    messages = [{"role": "user", "content": "Hi"}]
    tool = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
    assert encoder.render_told(messages) == encoder.render_told(messages, []) == encoder.render(messages)
    told, none = encoder.tool_turns.told(messages, [tool])
    assert none is None and encoder.render_told(messages, [tool]) == encoder.render(told)
    assert '"name": "clock"' in encoder.render_told(messages, [tool])


TURN_ENDS = {
    "Qwen-Qwen2.5-7B-Instruct": "<|im_end|>",
    "meta-llama-Llama-3.1-8B-Instruct": "<|eot_id|>",
    "google-gemma-2-2b-it": "<end_of_turn>",
    "microsoft-Phi-3.5-mini-instruct": "<|end|>",
    "mistralai-Mistral-Nemo-Instruct-2407": "</s>",
}


@pytest.mark.parametrize(("template", "piece"), TURN_ENDS.items())
def test_the_token_after_an_answer_ends_a_turn(template: str, piece: str, shared_data: Path) -> None:
    plain = load_tokenizer(shared_data / "tokenizers/gpt2")
    plain.backend.add_special_tokens([piece, "<|"])
    content = (shared_data / "chat_templates" / f"{template}.jinja").read_text()
    config = {"bos_token": "<|endoftext|>", "eos_token": "</s>"}
    tokenizer = Tokenizer(plain.backend, config, content)
    assert PromptEncoder(tokenizer).turn_end == tokenizer.id_of(piece)


def test_without_a_template_there_is_no_turn_and_no_chat(shared_data: Path) -> None:
    encoder = PromptEncoder(load_tokenizer(shared_data / "models/stories260K"))
    assert encoder.turn_end is None
    with pytest.raises(MissingError, match="no chat template"):
        encoder.render([{"role": "user", "content": "hi"}])
