"""Records of fine-tuning data, whatever their shape, as conversations of which some messages are learnt.

{"messages": [{role, content, …}], "tools"?}                     every answer is learnt
[{role, content, …}]                                             the same (nanochat)
{"conversations": [{"from", "value"}], "system"?, "tools"?}      the same (ShareGPT)
{"prompt", "completion"}                                         texts or lists of messages; the completion
{"instruction", "input"?, "output" | "response"}                 Alpaca; the output
{"text"}                                                         all of it, as in pretraining
{"prompt" | "messages" | "instruction", "chosen", "rejected"}    texts or lists of messages; both answers
{"chosen": [messages], "rejected": [messages]}                   their common beginning is the prompt
{"prompt", "completion", "label": bool}                          an answer and whether it is wanted
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from llmkit.errors import DataError
from llmkit.formats.jsonl import MALFORMED, Line, decode_field
from llmkit.tokens.audit import ExampleError

Message = dict[str, Any]
Kind = Literal["answer", "pair", "label", "prompt"]
"""What a method learns from: answers (sft, kd), pairs of them (dpo, orpo, simpo), labelled ones (kto), or
nothing but prompts (grpo)."""

ROLES = frozenset(
    ("system", "developer", "user", "assistant", "tool", "tool_results", "function", "ipython", "observation")
)
_SHAREGPT_ROLES = {
    **{"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant"},
    **{"assistant": "assistant", "model": "assistant", "system": "system", "tool": "tool"},
    **{"observation": "tool", "function_response": "tool"},
}
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
    return found


def _read_answer(line: Line) -> list[Example]:
    record = line.record
    if "messages" in record and "chosen" not in record:
        return [Example("messages", (Conversation(_messages(line, "messages"), tools=_tools(line)),))]
    if "conversations" in record and "chosen" not in record:
        return [Example("sharegpt", (Conversation(_sharegpt(line), tools=_tools(line)),))]
    if "prompt" in record and "completion" in record:
        return [Example("prompt-completion", (_answered(line, _prompt(line), "completion"),))]
    for answer in ("output", "response"):
        if "instruction" in record and answer in record:
            return [Example("alpaca", (_answered(line, _prompt(line), answer),))]
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
        prompt = _common(_messages(line, "chosen"), _messages(line, "rejected"))
    answers = tuple(_answered(line, prompt, key) for key in ("chosen", "rejected"))
    return [Example("preference", answers)]


def _read_label(line: Line) -> list[Example]:
    record = line.record
    if "label" in record and "completion" in record:
        label = decode_field(line, "label", bool)
        return [Example("labelled", (_answered(line, _prompt(line), "completion"),), label)]
    return [
        Example("preference", (answer,), label)
        for pair in _read_pair(line)
        for answer, label in zip(pair.answers, (True, False), strict=True)
    ]


def _read_prompt(line: Line) -> list[Example]:
    try:
        prompt = _prompt(line)
    except _NoPromptError:
        if "chosen" not in line.record or "rejected" not in line.record:
            return []
        prompt = _common(_messages(line, "chosen"), _messages(line, "rejected"))
    messages = prompt.messages
    while messages and messages[-1]["role"] == "assistant":  # an answer that came with it
        messages = messages[:-1]
    plain = None if prompt.plain is None else (prompt.plain, "")
    return [Example("prompt", (Conversation(messages, len(messages), _tools(line), plain),))]


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


def _prompt(line: Line) -> _Prompt:
    record = line.record
    if "prompt" in record:
        if bytes(record["prompt"]).startswith(b'"'):
            text = decode_field(line, "prompt", str)
            return _Prompt([{"role": "user", "content": text}], text)
        return _Prompt(_messages(line, "prompt"), None)
    if "messages" in record:
        return _Prompt(_messages(line, "messages"), None)
    if "conversations" in record:
        return _Prompt(_sharegpt(line), None)
    if "instruction" in record:
        instruction = decode_field(line, "instruction", str)
        given = decode_field(line, "input", str | None) if "input" in record else None
        content = f"{instruction}\n\n{given}" if given else instruction
        return _Prompt([{"role": "user", "content": content}], alpaca_prompt(instruction, given))
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
    tools = _tools(line)
    before = prompt.messages
    if bytes(line.record[key]).startswith(b'"'):
        text = decode_field(line, key, str)
        plain = None if prompt.plain is None else (prompt.plain, text)
        return Conversation([*before, {"role": "assistant", "content": text}], len(before), tools, plain)
    answer = _messages(line, key)
    if answer[: len(before)] == before:  # the whole conversation, its prompt again
        answer = answer[len(before) :]
    return Conversation([*before, *answer], len(before), tools)


def _common(chosen: list[Message], rejected: list[Message]) -> _Prompt:
    same = 0
    while same < min(len(chosen), len(rejected)) and chosen[same] == rejected[same]:
        same += 1
    while same and chosen[same - 1]["role"] == "assistant":  # equal answers are answers still
        same -= 1
    return _Prompt(chosen[:same], None)


def _messages(line: Line, key: str) -> list[Message]:
    messages: list[Message] = decode_field(line, key, list[dict[str, Any]])
    for number, message in enumerate(messages):
        role = message.get("role")
        if not isinstance(role, str):
            raise ExampleError(
                "record.shape",
                f'"{key}": message {number} has no role (found: {", ".join(message)})',
                hint='{"role": "user", "content": "…"}',
            )
        if role not in ROLES:
            raise ExampleError(
                "role.unknown",
                f'message {number} has the role "{role}"',
                hint=f"roles: {', '.join(sorted(ROLES))}",
            )
    return [{**one, "content": _joined(one["content"])} if "content" in one else one for one in messages]


def _joined(content: Any) -> Any:
    """Parts that are all text as one text, which every template takes; anything else as it is."""
    texts = []
    for part in content if isinstance(content, list) else [None]:
        match part:
            case {"type": "text", "text": str() as text}:
                texts.append(text)
            case _:
                return content
    return "".join(texts)


def _sharegpt(line: Line) -> list[Message]:
    turns: list[Message] = decode_field(line, "conversations", list[dict[str, Any]])
    if turns and "role" in turns[0]:
        return _messages(line, "conversations")
    messages: list[Message] = []
    if "system" in line.record:
        system = decode_field(line, "system", str | None)
        messages += [{"role": "system", "content": system}] if system else []
    for number, turn in enumerate(turns):
        who = turn.get("from")
        if who not in _SHAREGPT_ROLES:
            raise ExampleError(
                "role.unknown",
                f'conversations: turn {number} is from "{who}"',
                hint=f"from: {', '.join(sorted(_SHAREGPT_ROLES))}",
            )
        message = {"role": _SHAREGPT_ROLES[who], "content": turn.get("value")}
        messages.append(message | ({"weight": turn["weight"]} if "weight" in turn else {}))
    return messages


def _tools(line: Line) -> list[Any] | None:
    if "tools" not in line.record:
        return None
    raw = bytes(line.record["tools"])
    if raw.startswith(b'"'):  # a list as text, as some data sets have it
        text = decode_field(line, "tools", str)
        try:
            return msgspec.json.decode(text, type=list[Any]) if text.strip() else None
        except MALFORMED as error:
            raise ExampleError("record.shape", f'"tools": {error}', hint="a list of JSON schemas") from None
    tools: list[Any] | None = decode_field(line, "tools", list[Any] | None)
    return tools or None
