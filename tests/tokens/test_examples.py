"""Every shape of record becomes the same conversation."""

import json
from typing import Any

import msgspec
import pytest

from llmkit.formats.jsonl import Line
from llmkit.tokens.audit import ExampleError
from llmkit.tokens.examples import Conversation, Example, Kind, alpaca_prompt, examples_of

USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
REJECTED = {"role": "assistant", "content": "Go"}
SYSTEM = {"role": "system", "content": "Be kind"}


def line(record: dict[str, Any]) -> Line:
    return Line(msgspec.json.decode(json.dumps(record), type=dict[str, msgspec.Raw]), "x.jsonl", 3)


def read(record: dict[str, Any], kind: Kind = "answer") -> Example:
    (example,) = examples_of(line(record), kind)
    return example


@pytest.mark.parametrize(
    ("record", "learn_from"),
    [
        ({"messages": [USER, ANSWER]}, 0),
        ({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}, 0),
        ({"conversations": [USER, ANSWER]}, 0),
        ({"prompt": "Hi", "completion": "Hello"}, 1),
        ({"prompt": [USER], "completion": [ANSWER]}, 1),
        ({"instruction": "Hi", "output": "Hello"}, 1),
        ({"instruction": "Hi", "input": "", "response": "Hello"}, 1),
        ({"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}, 1),
    ],
)
def test_each_shape_is_one_conversation(record: dict[str, Any], learn_from: int) -> None:
    (conversation,) = read(record).answers
    assert conversation.messages == [USER, ANSWER]
    assert conversation.learn_from == learn_from


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Hi", "chosen": "Hello", "rejected": "Go"},
        {"prompt": [USER], "chosen": [ANSWER], "rejected": [REJECTED]},
        {"messages": [USER], "chosen": [ANSWER], "rejected": [REJECTED]},
        {"prompt": "Hi", "chosen": [USER, ANSWER], "rejected": [USER, REJECTED]},
        {"chosen": [USER, ANSWER], "rejected": [USER, REJECTED]},
        {"instruction": "Hi", "input": "", "output": "x", "chosen": "Hello", "rejected": "Go"},
    ],
)
def test_each_shape_of_a_pair_is_two_conversations(record: dict[str, Any]) -> None:
    chosen, rejected = read(record, "pair").answers
    assert (chosen.messages, rejected.messages) == ([USER, ANSWER], [USER, REJECTED])
    assert chosen.learn_from == rejected.learn_from == 1
    good, bad = examples_of(line(record), "label")
    assert (good.answers, good.label) == ((chosen,), True)
    assert (bad.answers, bad.label) == ((rejected,), False)
    assert read(record, "prompt").answers[0].messages == [USER]


def test_equal_answers_of_a_pair_are_not_taken_for_its_prompt() -> None:
    chosen, rejected = read({"chosen": [USER, ANSWER], "rejected": [USER, ANSWER]}, "pair").answers
    assert chosen == rejected == Conversation([USER, ANSWER], 1)


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [USER, ANSWER, USER, REJECTED], "label": False},
        {"conversations": [USER, ANSWER, USER, REJECTED], "kto_tag": False},
        {"instruction": "Hi", "output": "Go", "history": [["Hi", "Hello"]], "kto_tag": False},
        {"messages": [USER, ANSWER, USER], "completion": "Go", "label": False},
    ],
)
def test_a_label_judges_the_last_answer_of_a_conversation(record: dict[str, Any]) -> None:
    example = read(record, "label")
    assert example.answers == (Conversation([USER, ANSWER, USER, REJECTED], 3),)
    assert example.label is False


def test_a_labelled_record_keeps_its_label() -> None:
    example = read({"prompt": "Hi", "completion": "Go", "label": False}, "label")
    assert (example.label, example.answers[0].messages) == (False, [USER, REJECTED])


def test_alpaca_input_stands_below_the_instruction_and_in_its_own_words_without_a_template() -> None:
    (conversation,) = read({"instruction": "Add.", "input": "2 2", "output": "4"}).answers
    assert conversation.messages[0]["content"] == "Add.\n\n2 2"
    assert conversation.plain == (alpaca_prompt("Add.", "2 2"), "4")
    # as stanford_alpaca's train.py has it
    assert alpaca_prompt("Add.", "2 2") == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n2 2\n\n### Response:\n"
    )
    assert alpaca_prompt("Add.") == (
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Response:\n"
    )


def test_a_text_is_never_put_into_a_template() -> None:
    assert read({"text": "All of it"}).answers == (Conversation([], plain=("", "All of it")),)


def test_tools_and_system_come_along() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    record = {
        "system": "Be kind",
        "conversations": [{"from": "human", "value": "Hi"}],
        "tools": json.dumps(tools),
    }
    (conversation,) = read(record).answers
    assert conversation.messages == [SYSTEM, USER] and conversation.tools == tools
    assert read({"messages": [USER, ANSWER], "tools": tools}).answers[0].tools == tools
    assert read({"messages": [USER, ANSWER], "tools": None}).answers[0].tools is None


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({"messages": [USER, ANSWER]}, "answer"),
        ({"conversations": [USER, ANSWER]}, "answer"),
        ({"conversations": [SYSTEM, USER, ANSWER]}, "answer"),
        ({"prompt": "Hi", "completion": "Hello"}, "answer"),
        ({"prompt": [USER], "completion": [USER, ANSWER]}, "answer"),
        ({"instruction": "Hi", "output": "Hello"}, "answer"),
        ({"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}, "pair"),
        ({"chosen": [USER, ANSWER], "rejected": [USER, REJECTED]}, "pair"),
        ({"prompt": "Hi", "chosen": [USER, ANSWER], "rejected": [USER, REJECTED]}, "pair"),
        ({"conversations": [USER], "chosen": ANSWER, "rejected": REJECTED}, "pair"),
    ],
)
def test_a_system_message_beside_a_prompt_stands_before_it(record: dict[str, Any], kind: Kind) -> None:
    conversation = read({"system": "Be kind", **record}, kind).answers[0]
    assert conversation.messages == [SYSTEM, USER, ANSWER]
    assert conversation.learn_from in (0, 2)


def test_without_a_template_a_system_message_is_a_paragraph_before_the_prompt() -> None:
    (conversation,) = read({"system": "Be kind", "prompt": "Hi", "completion": "Hello"}).answers
    assert conversation.plain == ("Be kind\n\nHi", "Hello")


def test_answers_of_a_history_are_learnt_but_not_for_a_preference() -> None:
    history = {"history": [["Hi", "Hello"]], "instruction": "Hi"}
    (conversation,) = read({**history, "output": "Hello"}).answers
    assert conversation == Conversation([USER, ANSWER, USER, ANSWER], 0)
    chosen, _ = read({**history, "chosen": "Hello", "rejected": "Go"}, "pair").answers
    assert chosen == Conversation([USER, ANSWER, USER, ANSWER], 3)


def test_a_prompt_is_what_comes_before_the_last_answer() -> None:
    assert read({"messages": [USER, ANSWER, USER, ANSWER]}, "prompt").answers[0].messages == [
        USER,
        ANSWER,
        USER,
    ]
    assert read({"instruction": "Hi", "output": "Hello"}, "prompt").answers[0].messages == [USER]


@pytest.mark.parametrize(
    ("record", "kind", "rule", "problem"),
    [
        ({"question": "Hi"}, "answer", "record.shape", "found: question"),
        ({"prompt": "Hi"}, "answer", "record.shape", "found: prompt"),
        (
            {"prompt": "Hi", "completion": "Hello"},
            "pair",
            "record.shape",
            "no chosen and rejected, and a prompt",
        ),
        ({"prompt": "Hi", "completion": "Hello"}, "label", "record.shape", "no prompt, completion and label"),
        ({"prompt": "Hi", "completion": "Hello", "label": "yes"}, "label", "record.shape", "label"),
        ({"chosen": "a", "rejected": "b"}, "pair", "record.shape", "chosen"),
        ({"text": "a"}, "prompt", "record.shape", "no prompt, messages or an instruction"),
        ({"messages": "Hi"}, "answer", "record.shape", "messages"),
        ({"messages": []}, "answer", "record.shape", "no messages in it"),
        ({"conversations": []}, "answer", "record.shape", "no messages in it"),
        ({"messages": [{"content": "Hi"}]}, "answer", "record.shape", "message 0 has no role"),
        ({"prompt": 3, "completion": "a"}, "answer", "record.shape", "prompt"),
        ({"messages": [USER, {"role": "asistant"}]}, "answer", "role.unknown", 'the role "asistant"'),
        ({"conversations": [{"from": "gtp", "value": ""}]}, "answer", "role.unknown", 'from "gtp"'),
        ({"messages": [USER], "tools": "{"}, "answer", "record.shape", "tools"),
    ],
)
def test_a_record_of_another_shape_is_named(
    record: dict[str, Any], kind: Kind, rule: str, problem: str
) -> None:
    with pytest.raises(ExampleError, match=problem) as error:
        examples_of(line(record), kind)
    assert error.value.rule == rule and "x.jsonl" not in error.value.problem


def test_content_tells_conversations_apart_and_nothing_else() -> None:
    same = [
        {"id": 1, "prompt": "Hi", "completion": "Hello"},
        {"completion": "Hello", "prompt": [USER], "x": 2},
    ]
    assert len({read(record).content for record in same}) == 1
    others = [
        {"prompt": "Hi", "completion": "Go"},
        {"messages": [USER, ANSWER]},
        {"text": "Hi"},
        {"text": "Ho"},
    ]
    assert len({read(record).content for record in (*same, *others)}) == 5


def test_content_in_parts_of_text_is_one_text_and_any_other_is_left_as_it_is() -> None:
    def content_of(content: Any) -> Any:
        (conversation,) = read({"messages": [{"role": "user", "content": content}, ANSWER]}).answers
        return conversation.messages[0]["content"]

    part = {"type": "text", "text": "Hi"}
    assert content_of([part, {"type": "text", "text": " you"}]) == "Hi you"
    for odd in ([part, {"type": "image_url", "image_url": "x"}], [part, "Hi"], [{"type": "text"}], None, 3):
        assert content_of(odd) == odd
    assert content_of([]) == ""
