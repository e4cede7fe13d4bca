"""Thoughts are told apart from the answer: however a text is cut, by whatever marks its template knows."""

import random
from pathlib import Path

import pytest
import tokenizers
from tokenizers import AddedToken

from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.calls import CallReader, FoundCall
from llmkit.tokens.tools.forms import ToolForm
from llmkit.tokens.tools.thoughts import ThoughtForm, thought_form_of
from tests.tokens.test_answers import chat_tokenizer, published

THINK = ThoughtForm("<think>", "</think>")
HARMONY = ThoughtForm("<|channel|>analysis<|message|>", "<|end|>")
TOOLS = [{"type": "function", "function": {"name": "f"}}]
CALL = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'


def reading(*, thinks: bool = False, tools: bool = False) -> CallReader:
    return ToolForm("hermes", {}).reader(TOOLS if tools else [], thoughts=THINK, thinks=thinks)


def read(reader: CallReader, pieces: list[str], *, cut: bool = False) -> tuple[str, str, int]:
    """What was thought and said, and how many calls were found."""
    told = [*map(reader.push, pieces), reader.flush(cut=cut)]
    return reader.take_thought(), "".join(text for text, _ in told), sum(len(calls) for _, calls in told)


def by_hand(text: str, *, thinks: bool) -> tuple[str, str]:
    """The slow twin: a whole text, split at its marks."""
    if not thinks:
        if not text.lstrip().startswith("<think>"):
            return "", text
        text = text.lstrip().removeprefix("<think>")
    thought, end, answer = text.partition("</think>")
    more, said = by_hand(answer.lstrip(), thinks=False)
    return "\n".join(one for one in (thought.strip(), more) if one), said if end else ""


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("qwen3.tokenizer_config.json", "<think>"),
        ("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja", "<think>"),
        ("Qwen-Qwen2.5-7B-Instruct.jinja", None),
        ("meta-llama-Llama-3.1-8B-Instruct.jinja", None),
    ],
)
def test_a_template_says_whether_its_model_thinks(name: str, begin: str | None, shared_data: Path) -> None:
    form = thought_form_of(published(shared_data / "chat_templates", name))
    assert (None if form is None else form.begin) == begin


@pytest.mark.parametrize(
    ("template", "begin"),
    [
        ("{{ messages[0].content }}[THINK][/THINK]", "[THINK]"),
        ("<|START_THINKING|><|END_THINKING|>", "<|START_THINKING|>"),
        ("<|channel|>final<|message|>", "<|channel|>analysis<|message|>"),
        ("{{ messages[0].content }}<|assistant|><think>", "<think>"),  # what the model is to end
        ("{{ messages[0].content.split('</think>')[-1] }}", "<think>"),
        ("{{ messages[0].content }} I think.", None),
    ],
)
def test_families_have_marks_of_their_own(template: str, begin: str | None) -> None:
    form = thought_form_of(chat_tokenizer(template, "<end>"))
    assert (None if form is None else form.begin) == begin


def test_marks_that_are_special_tokens_show_in_a_text() -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.add_special_tokens([AddedToken("[THINK]", special=True), AddedToken("[/THINK]", special=True)])
    form = thought_form_of(Tokenizer(backend, {}, "[THINK][/THINK]"))
    assert form is not None and form.shown == {backend.token_to_id(one) for one in ("[THINK]", "[/THINK]")}


@pytest.mark.parametrize(
    ("prompt", "prefill", "place"),
    [
        ("<|assistant|><think>\n", "", "within"),
        ("<|assistant|><think>\n\n</think>\n\n", "", "after"),
        ("<|user|>what is <think>?<|assistant|>", "", "before"),
        ("<|assistant|><think>\nWell", "Well", "within"),
        ("<|assistant|><think>\nWell</think>", "Well</think>", "after"),
        ("<|assistant|><think>Well", "<think>Well", "within"),
        ("<|assistant|>So", "So", "after"),
    ],
)
def test_what_stands_before_a_text_says_whether_thoughts_are_to_come(
    prompt: str, prefill: str, place: str
) -> None:
    assert THINK.place(prompt, prefill) == place


@pytest.mark.parametrize("thinks", [False, True])
def test_any_cutting_gives_what_splitting_the_whole_text_does(thinks: bool) -> None:
    chance = random.Random(0)
    parts = ["<think>", "</think>", "</thi", "<", "/think>", " ", "\n", "a", "é.", "<tool_call>"]
    for _ in range(400):
        text = "".join(chance.choices(parts, k=chance.randrange(12)))
        text = text if thinks or chance.random() < 0.3 else f"<think>{text}"
        cuts = sorted(chance.randrange(len(text) + 1) for _ in range(3))
        pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert read(reading(thinks=thinks), pieces)[:2] == by_hand(text, thinks=thinks)


def test_a_thought_comes_out_while_it_is_thought() -> None:
    reader = reading()
    reader.push("<think>\nWe")
    assert (reader.take_thought(), reader.thinking) == ("We", True)
    reader.push(" add</thi")
    assert reader.take_thought() == " add"
    assert reader.push("nk>\n\nSeven.") == ("Seven.", ()) and not reader.thinking
    assert reader.take_thought() == ""


def test_marks_behind_the_first_text_are_text() -> None:
    text = "Write <think>so</think>."
    assert read(reading(), [text]) == ("", text, 0)


def test_a_text_that_ends_within_thoughts_says_nothing() -> None:
    assert read(reading(), ["<think>\nWe add </th"], cut=True) == ("We add </th", "", 0)
    assert read(reading(thinks=True), ["We add\n"], cut=True) == ("We add", "", 0)
    assert read(reading(), ["<think>\n\n</think>\n\n"]) == ("", "", 0)


def test_thoughts_that_follow_each_other_have_lines_of_their_own() -> None:
    text = "<think>a</think>\n<think>\n</think><think>b</think>\nc"
    assert read(reading(), list(text)) == ("a\nb", "c", 0)


def test_calls_follow_thoughts_and_what_is_thought_of_calls_is_none() -> None:
    text = f"<think>I could {CALL}</think>\n\n{CALL}"
    assert read(reading(tools=True), [text]) == (f"I could {CALL}", "", 1)
    said = "I call it."
    assert read(reading(tools=True), [f"<think>x</think>\n{said}\n{CALL}"]) == ("x", said, 1)


def test_a_bare_call_may_follow_thoughts() -> None:
    reader = ToolForm("json", {}).reader(TOOLS, thoughts=THINK)
    assert read(reader, ['<think>x</think>\n{"name": "f", "arguments": {}}']) == ("x", "", 1)


@pytest.mark.parametrize("tools", [False, True])
def test_harmonys_channels_are_thoughts_and_answer(tools: bool) -> None:
    text = (
        "<|channel|>analysis<|message|>They greet.<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Hello!<|return|>"
    )
    reader = ToolForm("harmony", {}).reader(TOOLS if tools else [], thoughts=HARMONY)
    assert read(reader, list(text)) == ("They greet.", "Hello!", 0)


def test_harmony_calls_only_what_there_is_to_call() -> None:
    text = "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>"
    offered = ToolForm("harmony", {}).reader(TOOLS, thoughts=HARMONY)
    assert (offered.push(text)[1], offered.take_thought()) == ((FoundCall("f", "{}"),), "")
    none = ToolForm("harmony", {}).reader([], thoughts=HARMONY)
    assert read(none, [text]) == ("", text.removesuffix("<|call|>"), 0)


@pytest.mark.parametrize("size", [1, 5, 99])
def test_harmony_may_call_right_behind_the_role_that_the_prompt_ends_with(size: int) -> None:
    text = ' to=functions.f<|channel|>commentary json<|message|>{"a": 1}<|call|>'
    pieces = [text[place : place + size] for place in range(0, len(text), size)]
    for thoughts in (HARMONY, None):
        reader = ToolForm("harmony", {}).reader(TOOLS, thoughts=thoughts)
        assert read(reader, pieces) == ("", "", 1)
    said = "<|channel|>final<|message|>Write it to=functions.f<|message|>"
    assert read(ToolForm("harmony", {}).reader(TOOLS), [said])[1:] == (said[27:], 0)
