"""Records of fine-tuning data, whatever their shape, as conversations of which some messages are learnt.

{"messages": [{role, content, …}], "tools"?}                     every answer is learnt
[{role, content, …}]                                             the same (nanochat)
{"conversations": [{"from", "value"}], "tools"?}                 the same (ShareGPT)
{"prompt", "completion"}                                         texts or lists of messages; the completion
{"instruction", "input"?, "output" | "response", "history"?}     Alpaca; the output, answers of the history
{"text"}                                                         all of it, as in pretraining
{"prompt" | "messages" | "instruction", "chosen", "rejected"}    texts or (lists of) messages; both answers
{"chosen": [messages], "rejected": [messages]}                   their common beginning is the prompt
{"prompt", "completion", "label": bool}                          an answer and whether it is wanted
{"messages" | "instruction" and "output", "label" | "kto_tag"}   the last answer and whether it is wanted

All but a text may have a "system" beside these, which stands before the first message.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from llmkit.errors import DataError
from llmkit.formats.jsonl import Line, decode_field
from llmkit.tokens.audit import ExampleError
from llmkit.tokens.record_messages import (
    Message,
    led_by_system,
    read_history,
    read_messages,
    read_system,
    read_tools,
)

Kind = Literal["answer", "pair", "label", "prompt"]
"""What a method learns from: answers (sft, kd), pairs of them (dpo, orpo, simpo), labelled ones (kto), or
nothing but prompts (grpo)."""

_LABELS = ("label", "kto_tag")
"""Where a record says whether its answer is wanted; the second is LLaMA-Factory's."""
_ALPACA = (
    "Below is an instruction that describes a task{input}. Write a response that appropriately completes the "
    "request.\n\n### Instruction:\n{instruction}\n\n{given}### Response:\n"
)
_WANTED: dict[Kind, str] = {
    "answer": "messages, prompt and completion, instruction and output, conversations, or text",
    "pair": "chosen and rejected, and a prompt",
    "label": "prompt, completion and label (true or false), or chosen and rejected",
    "prompt": "prompt, messages or an instruction",
}


@dataclass(frozen=True)
class Conversation:
    """Messages, and which of the assistant's are learnt."""

    messages: list[Message]
    """Empty: `plain` is a text of its own, never put into a template."""
    learn_from: int = 0
    """The first message that may be learnt."""
    tools: list[Any] | None = None
    plain: tuple[str, str] | None = None
    """What a tokenizer without a chat template encodes: the prompt, and the completion that is learnt."""


@dataclass(frozen=True)
class Example:
    """One record as what a method learns from."""

    shape: str
    answers: tuple[Conversation, ...]
    """One; of a pair, the chosen and the rejected."""
    label: bool | None = None

    @property
    def content(self) -> bytes:
        """The same bytes for the same conversations, whatever else the record says."""
        parts = [
            [one.messages, one.learn_from, one.tools, one.plain if not one.messages else None]
            for one in self.answers
        ]
        return msgspec.json.encode([parts, self.label], order="deterministic")


def examples_of(line: Line, kind: Kind) -> list[Example]:
    """What a record has to learn from: one example, or of a pair under `label` both answers.

    Raises:
        ExampleError: its shape is none of those that `kind` takes, or a value in it is not what it should be.
    """
    try:
        found = _READERS[kind](line)
    except ExampleError:
        raise
    except DataError as error:
        problem = error.problem.removeprefix(f"{line.where}: ")
        raise ExampleError("record.shape", problem, hint=error.hint) from None
    if not found:
        raise ExampleError(
            "record.shape",
            f"no {_WANTED[kind]} (found: {', '.join(line.record) or 'no keys at all'})",
            hint="llmkit finetune --help names what each method learns from",
        )
    if any(not one.messages and one.plain is None for example in found for one in example.answers):
        raise ExampleError(
            "record.shape",
            f"no messages in it (found: {', '.join(line.record)})",
            hint='{"messages": [{"role": "user", "content": "…"}, …]}',
        )
    return found


def _read_answer(line: Line) -> list[Example]:
    record = line.record
    if "messages" in record and "chosen" not in record:
        return [Example("messages", (_whole(line, read_messages(line, "messages")),))]
    if "conversations" in record and "chosen" not in record:
        return [Example("sharegpt", (_whole(line, read_messages(line, "conversations")),))]
    if "prompt" in record and "completion" in record:
        return [Example("prompt-completion", (_answered(line, _prompt(line), "completion"),))]
    for answer in ("output", "response"):
        if "instruction" in record and answer in record:
            learnt = _answered(line, _prompt(line), answer)
            if read_history(line):
                learnt = replace(learnt, learn_from=0)
            return [Example("alpaca", (learnt,))]
    if "chosen" in record:
        return [Example("preference", _read_pair(line)[0].answers[:1])]
    if "text" in record:
        text = decode_field(line, "text", str)
        return [Example("text", (Conversation([], plain=("", text)),))]
    return []


def _read_pair(line: Line) -> list[Example]:
    if "chosen" not in line.record or "rejected" not in line.record:
        return []
    try:
        prompt = _prompt(line)
    except _NoPromptError:
        prompt = _common(line)
    answers = tuple(_answered(line, prompt, key) for key in ("chosen", "rejected"))
    return [Example("preference", answers)]


def _read_label(line: Line) -> list[Example]:
    label = next((key for key in _LABELS if key in line.record), None)
    if label is not None and "chosen" not in line.record and (last := _last_answer(line)) is not None:
        return [Example("labelled", (last,), decode_field(line, label, bool))]
    return [
        Example("preference", (answer,), label)
        for pair in _read_pair(line)
        for answer, label in zip(pair.answers, (True, False), strict=True)
    ]


def _last_answer(line: Line) -> Conversation | None:
    """What a record's label judges: its answer, or the last of a conversation."""
    record = line.record
    for answer in ("completion", "output", "response"):
        if answer in record and (answer == "completion" or "instruction" in record):
            return _answered(line, _prompt(line), answer)
    for key in ("messages", "conversations"):
        if key in record:
            whole = _whole(line, read_messages(line, key))
            return replace(whole, learn_from=max(0, len(whole.messages) - 1))
    return None


def _read_prompt(line: Line) -> list[Example]:
    try:
        prompt = _prompt(line)
    except _NoPromptError:
        if "chosen" not in line.record or "rejected" not in line.record:
            return []
        prompt = _common(line)
    messages = prompt.messages
    while messages and messages[-1]["role"] == "assistant":  # an answer that came with it
        messages = messages[:-1]
    plain = None if prompt.plain is None else (prompt.plain, "")
    return [Example("prompt", (Conversation(messages, len(messages), read_tools(line), plain),))]


_READERS: dict[Kind, Callable[[Line], list[Example]]] = {
    "answer": _read_answer,
    "pair": _read_pair,
    "label": _read_label,
    "prompt": _read_prompt,
}


class _NoPromptError(DataError):
    """The record has no prompt of its own."""


@dataclass(frozen=True)
class _Prompt:
    messages: list[Message]
    plain: str | None
    """What stands before the completion where there is no chat template; None: messages cannot do without."""
    led: int = 0
    """Messages at the start that the record tells apart from its prompt: its system message."""


def _whole(line: Line, messages: list[Message]) -> Conversation:
    """A conversation all of whose answers are learnt."""
    return Conversation(led_by_system(line, messages), tools=read_tools(line))


def _prompt(line: Line) -> _Prompt:
    """What comes before an answer.

    Raises:
        _NoPromptError: nothing in the record does, but perhaps in its answers.
    """
    return _led(line, _own_prompt(line))


def _led(line: Line, own: _Prompt) -> _Prompt:
    """A record's prompt behind its system message, if it has one."""
    system = read_system(line)
    plain = f"{system}\n\n{own.plain}" if system and own.plain is not None else own.plain
    messages = led_by_system(line, own.messages)
    return _Prompt(messages, plain, len(messages) - len(own.messages))


def _own_prompt(line: Line) -> _Prompt:
    record = line.record
    if "prompt" in record:
        if bytes(record["prompt"]).startswith(b'"'):
            text = decode_field(line, "prompt", str)
            return _Prompt([{"role": "user", "content": text}], text)
        return _Prompt(read_messages(line, "prompt"), None)
    if "messages" in record:
        return _Prompt(read_messages(line, "messages"), None)
    if "conversations" in record:
        return _Prompt(read_messages(line, "conversations"), None)
    if "instruction" in record:
        instruction = decode_field(line, "instruction", str)
        given = decode_field(line, "input", str | None) if "input" in record else None
        content = f"{instruction}\n\n{given}" if given else instruction
        history = read_history(line)
        plain = None if history else alpaca_prompt(instruction, given)
        return _Prompt([*history, {"role": "user", "content": content}], plain)
    raise _NoPromptError(
        f"no prompt (found: {', '.join(record)})", hint="add a prompt, messages or instruction"
    )


def alpaca_prompt(instruction: str, given: str | None = None) -> str:
    """What Alpaca puts before an output, for a model without a chat template.

    Source: tatsu-lab/stanford_alpaca `train.py`, PROMPT_DICT.
    """
    also = ", paired with an input that provides further context" if given else ""
    part = f"### Input:\n{given}\n\n" if given else ""
    return _ALPACA.format(input=also, instruction=instruction, given=part)


def _answered(line: Line, prompt: _Prompt, key: str) -> Conversation:
    """A prompt with the answer at `key`, a text or a list of messages, which alone is learnt."""
    tools = read_tools(line)
    before = prompt.messages
    if bytes(line.record[key]).startswith(b'"'):
        text = decode_field(line, key, str)
        plain = None if prompt.plain is None else (prompt.plain, text)
        return Conversation([*before, {"role": "assistant", "content": text}], len(before), tools, plain)
    answer = read_messages(line, key)
    for again in (before, before[prompt.led :]):  # the whole conversation, its prompt again
        if answer[: len(again)] == again:
            answer = answer[len(again) :]
            break
    return Conversation([*before, *answer], len(before), tools)


def _common(line: Line) -> _Prompt:
    """What both answers of a pair begin with."""
    chosen, rejected = (read_messages(line, key) for key in ("chosen", "rejected"))
    same = 0
    while same < min(len(chosen), len(rejected)) and chosen[same] == rejected[same]:
        same += 1
    while same and chosen[same - 1]["role"] == "assistant":  # equal answers are answers still
        same -= 1
    return _led(line, _Prompt(chosen[:same], None))
