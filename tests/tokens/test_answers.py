"""Answers in rendered conversations: by hand for published templates, and where templates play tricks."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from llmkit.tokens.answers import AnswerFinder
from llmkit.tokens.audit import ExampleError
from llmkit.tokens.chat import render_chat
from llmkit.tokens.tokenizer import Tokenizer

END_TOKENS = {  # by the template's file: the token that ends a turn, and the name of eos where it is another
    "CohereForAI-c4ai-command-r-plus-tool_use.jinja": ("<|END_OF_TURN_TOKEN|>", None),
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja": ("<|im_end|>", None),
    "Qwen-Qwen2.5-7B-Instruct.jinja": ("<|im_end|>", None),
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja": ("<｜end▁of▁sentence｜>", None),
    "gemma.tokenizer_config.json": ("<end_of_turn>", "<eos>"),
    "google-gemma-2-2b-it.jinja": ("<end_of_turn>", "<eos>"),
    "meta-llama-Llama-3.1-8B-Instruct.jinja": ("<|eot_id|>", None),
    "microsoft-Phi-3.5-mini-instruct.jinja": ("<|end|>", "<|endoftext|>"),
    "mistralai-Mistral-Nemo-Instruct-2407.jinja": ("</s>", None),
    "phi-3-mini.tokenizer_config.json": ("<|end|>", "<|endoftext|>"),
    "phi-4-mini.tokenizer_config.json": ("<|end|>", "<|endoftext|>"),
    "qwen3.tokenizer_config.json": ("<|im_end|>", None),
}
TRIMMING = ("gemma", "google-gemma", "meta-llama", "CohereForAI")
TURNS = [
    {"role": "user", "content": "What is 2 + 2?"},
    {"role": "assistant", "content": " 4 \n"},
    {"role": "user", "content": "  And what is 2 * 3? "},
    {"role": "assistant", "content": "6, as What is 2 + 2? is not.\n\n  Ünï"},
    {"role": "user", "content": "4"},
    {"role": "assistant", "content": "4"},
]


def chat_tokenizer(template: str, end: str, eos: str | None = None, bos: str = "<BOS>") -> Tokenizer:
    """A tokenizer of bytes with a template, that has the token that ends a turn."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.add_special_tokens(
        [tokenizers.AddedToken(one, special=True) for one in dict.fromkeys((bos, end, eos or end))]
    )
    return Tokenizer(backend, {"bos_token": bos, "eos_token": eos or end}, template)


def published(folder: Path, name: str) -> Tokenizer:
    text = (folder / name).read_text(encoding="utf-8")
    template = text if name.endswith(".jinja") else json.loads(text)["chat_template"]
    return chat_tokenizer(template, *END_TOKENS[name])


def learnt(tokenizer: Tokenizer, messages: list[dict[str, Any]], tools: Any = None) -> list[str]:
    found = AnswerFinder(tokenizer).find(messages, tools)
    assert found.text == render_chat(tokenizer, messages, tools=tools)
    return [found.text[one.start : one.end] for one in found.answers]


@pytest.mark.parametrize("name", END_TOKENS)
def test_each_published_template_gives_the_answers_and_their_end_tokens(name: str, shared_data: Path) -> None:
    end, _ = END_TOKENS[name]
    said = [str(one["content"]) for one in TURNS if one["role"] == "assistant"]
    if name.startswith(TRIMMING):
        said = [one.strip() for one in said]
    if name.startswith("qwen3"):  # the last turn shows that nothing was thought, as the model writes it
        said[-1] = "<think>\n\n</think>\n\n" + said[-1]
    expected = [one + end for one in said]
    assert learnt(published(shared_data / "chat_templates", name), TURNS) == expected
    alone = learnt(published(shared_data / "chat_templates", name), TURNS[:2])
    assert len(alone) == 1 and alone[0].endswith(expected[0])


def test_the_published_templates_are_all_there(shared_data: Path) -> None:
    found = {path.name for path in (shared_data / "chat_templates").iterdir()} - {"rendered.jsonl"}
    assert found == set(END_TOKENS)


THINKING = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "<think>\nA greeting.\n</think>\n\nHello <b>!"},
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "content": "<think>\nFour.\n</think>\n\n4"},
]


def test_reasoning_is_learnt_where_the_template_shows_it(shared_data: Path) -> None:
    tokenizer = published(shared_data / "chat_templates", "qwen3.tokenizer_config.json")
    found = AnswerFinder(tokenizer).find(THINKING)
    assert [found.text[one.start : one.end] for one in found.answers] == [
        "Hello <b>!<|im_end|>",  # of an earlier turn the template drops it
        "<think>\nFour.\n</think>\n\n4<|im_end|>",
    ]
    assert found.lost == [1, 3]  # in the last turn it is written anew, white space and all


def test_reasoning_that_a_template_drops_is_found_lost(shared_data: Path) -> None:
    tokenizer = published(shared_data / "chat_templates", "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja")
    found = AnswerFinder(tokenizer).find(THINKING)
    assert [found.text[one.start : one.end] for one in found.answers] == [
        "\n\nHello <b>!<｜end▁of▁sentence｜>",
        "\n\n4<｜end▁of▁sentence｜>",
    ]
    assert found.lost == [1, 3]


def test_an_answer_that_begins_like_the_opening_keeps_its_first_letters(shared_data: Path) -> None:
    # the template asks with <｜Assistant｜><think>\n; what both begin with is <｜Assistant｜><
    tokenizer = published(shared_data / "chat_templates", "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja")
    messages = [{"role": "user", "content": "Bold?"}, {"role": "assistant", "content": "<b>yes</b>"}]
    assert learnt(tokenizer, messages) == ["<b>yes</b><｜end▁of▁sentence｜>"]


CALL = {"name": "weather", "arguments": {"city": "Oulu"}}
CALLING = [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "tool_calls": [{"type": "function", "id": "123456789", "function": CALL}]},
    {"role": "tool", "content": "12 degrees", "tool_call_id": "123456789"},
    {"role": "assistant", "content": "12 degrees."},
]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        (
            "Qwen-Qwen2.5-7B-Instruct.jinja",
            '\n<tool_call>\n{"name": "weather", "arguments": {"city": "Oulu"}}\n</tool_call>',
        ),
        ("meta-llama-Llama-3.1-8B-Instruct.jinja", '{"name": "weather", "parameters": {"city": "Oulu"}}'),
        (
            "mistralai-Mistral-Nemo-Instruct-2407.jinja",
            '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Oulu"}, "id": "123456789"}]',
        ),
    ],
)
def test_calls_of_tools_are_learnt_with_their_end(name: str, call: str, shared_data: Path) -> None:
    tokenizer = published(shared_data / "chat_templates", name)
    end = END_TOKENS[name][0]
    opened = call.removeprefix("\n") if "Qwen" in name else call  # that line feed belongs to the opening
    assert learnt(tokenizer, CALLING) == [opened + end, "12 degrees." + end]


def test_a_call_without_an_end_token_is_refused(shared_data: Path) -> None:
    name = "CohereForAI-c4ai-command-r-plus-tool_use.jinja"  # its tool calls end without one
    with pytest.raises(ExampleError, match="does not let its text be told") as error:
        learnt(published(shared_data / "chat_templates", name), CALLING[:2])
    assert error.value.rule == "mask.unclear"


def test_a_template_that_drops_the_system_message_is_found_out(shared_data: Path) -> None:
    name = "mistralai-Mistral-Nemo-Instruct-2407.jinja"  # writes it before the last turn, if that is a user's
    messages = [{"role": "system", "content": "Be terse."}, *TURNS[:2]]
    found = AnswerFinder(published(shared_data / "chat_templates", name)).find(messages)
    assert found.lost == [0]


TURN = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content MANGLED }}</s>\n{% endfor %}"
ASK = "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"


@pytest.mark.parametrize("mangled", ["| upper", "[:400]", "| replace('?', '!')", "| length"])
def test_a_template_that_changes_the_text_is_read_by_prefixes(mangled: str) -> None:
    tokenizer = chat_tokenizer(TURN.replace("MANGLED", mangled) + ASK, "</s>")
    rendered = render_chat(tokenizer, TURNS)
    expected = [part.partition("</s>")[0] + "</s>" for part in rendered.split("<|assistant|>\n")[1:]]
    assert learnt(tokenizer, TURNS) == expected


def test_a_template_that_changes_and_moves_text_is_refused() -> None:
    template = TURN.replace("MANGLED", "| length") + "{{ messages | length }}" + ASK
    tokenizer = chat_tokenizer("{{ messages | length }}" + template, "</s>")
    with pytest.raises(ExampleError, match="message 1") as error:
        learnt(tokenizer, TURNS)
    assert error.value.rule == "mask.unclear"
    assert "generation" in error.value.hint


def test_the_time_in_a_template_stands_still() -> None:
    tokenizer = chat_tokenizer(
        "{{ strftime_now('%H:%M:%S.%f') }}" + TURN.replace("MANGLED", "") + ASK, "</s>"
    )
    found = AnswerFinder(tokenizer).find(TURNS)
    assert [found.text[one.start : one.end] for one in found.answers] == [
        str(one["content"]) + "</s>" for one in TURNS[1::2]
    ]


def test_an_assistant_may_speak_first_and_twice() -> None:
    template = (
        "{% if messages[0].role == 'system' %}!{% endif %}" + TURN.replace("MANGLED", "") + ASK
    )  # looks at the first message, so that no message at all cannot be rendered
    messages = [{"role": "assistant", "content": one} for one in ("Hello.", "How are you?")]
    expected = ["Hello.</s>", "How are you?</s>"]
    assert learnt(chat_tokenizer(template, "</s>"), messages) == expected
    assert learnt(chat_tokenizer(TURN.replace("MANGLED", "") + ASK, "</s>"), messages) == expected


def test_an_empty_answer_is_only_its_end() -> None:
    tokenizer = chat_tokenizer(TURN.replace("MANGLED", "") + ASK, "</s>")
    messages = [TURNS[0], {"role": "assistant", "content": ""}, *TURNS[2:4]]
    assert learnt(tokenizer, messages) == ["</s>", str(TURNS[3]["content"]) + "</s>"]


def test_without_an_end_token_an_answer_is_its_text() -> None:
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    asking = template + "{% if add_generation_prompt %}assistant: {% endif %}"
    assert learnt(chat_tokenizer(asking, "</s>"), TURNS) == [
        str(one["content"]).rstrip() for one in TURNS[1::2]
    ]


def test_generation_blocks_are_taken_at_their_word() -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
        "{% endgeneration %}{% else %}<{{ m.content }}>{% endif %}{% endfor %}"
    )
    assert learnt(chat_tokenizer(template, "</s>"), TURNS) == [one["content"] for one in TURNS[1::2]]
    wide = "{% generation %}" + template.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    found = AnswerFinder(chat_tokenizer(wide + "{% endgeneration %}", "</s>")).find(TURNS)
    assert found.strange == [0, 2, 4]
    assert [one.message for one in found.answers] == [-1]  # one block, three answers


def test_code_points_that_marks_are_made_of_do_no_harm() -> None:
    messages = [TURNS[0], {"role": "assistant", "content": "\ufdd01\ufdd2 and \ufdd11\ufdd2"}]
    tokenizer = chat_tokenizer(TURN.replace("MANGLED", "") + ASK, "</s>")
    assert learnt(tokenizer, messages) == [str(messages[1]["content"]) + "</s>"]


def test_answers_are_found_in_a_few_renderings_of_a_long_conversation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from llmkit.tokens import answers

    rendered = []

    def count(*args: Any, **settings: Any) -> str:
        rendered.append(args)
        return render_chat(*args, **settings)

    monkeypatch.setattr(answers, "render_chat", count)
    finder = AnswerFinder(chat_tokenizer(TURN.replace("MANGLED", "") + ASK, "</s>"))
    rendered.clear()
    plain = [message | {"content": message["content"].strip()} for message in TURNS]
    assert len(finder.find(plain * 50).answers) == 150
    assert len(rendered) == 3  # as it is, with marks, and one opening


def test_answers_with_tools_are_found_in_the_template_for_tools() -> None:
    blocks = "{% for m in messages %}[{% generation %}{{ m.content }}{% endgeneration %}]{% endfor %}"
    plain = "{% for m in messages %}{{ m.role }}:{{ m.content }}<end>{% endfor %}"
    plain += "{% if add_generation_prompt %}assistant:{% endif %}"
    for own, with_tools in ((plain, blocks), (blocks, plain)):
        tokenizer = chat_tokenizer(own, "<end>")
        tokenizer.named_templates = {"tool_use": with_tools}
        finder = AnswerFinder(tokenizer)
        for tools, template in ((None, own), ([{"name": "f"}], with_tools)):
            alone = AnswerFinder(chat_tokenizer(template, "<end>")).find(TURNS[:2], tools)
            assert finder.find(TURNS[:2], tools) == alone
