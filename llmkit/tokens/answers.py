"""Where in a rendered conversation the assistant's answers stand.

A template with generation blocks says so itself. For any other, the conversation is rendered twice: as it is,
and with marks (code points that Unicode keeps for no character) around what each message says. If the second
without its marks is the first, the marks tell where each message went, also where a template trims, moves
or drops some. An answer begins where the text leaves off that the template gives a model to go on from, and
ends behind the token that ends a turn.

A template that does more with a message than write it loses the marks. Then what the assistant wrote lies
between the renderings of the messages before it and of those up to it, if each begins the whole text; where
not even that holds it is an error: no answer is ever guessed.
"""

import functools
import re
from dataclasses import dataclass
from typing import Any

from llmkit.errors import DataError
from llmkit.tokens.audit import ExampleError
from llmkit.tokens.chat import render_chat, render_generations
from llmkit.tokens.marks import Marks, mark_messages, strip_marks, text_of
from llmkit.tokens.prompt import TRIAL, PromptEncoder
from llmkit.tokens.templates import has_generation_markers, one_moment
from llmkit.tokens.tokenizer import Tokenizer

Message = dict[str, Any]
_NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True)
class Answer:
    """Characters that the assistant wrote, the token that ends its turn among them."""

    message: int
    """Number of the message; -1 where the template's own blocks do not tell."""
    start: int
    end: int


@dataclass(frozen=True)
class Found:
    """A rendered conversation."""

    text: str
    answers: list[Answer]
    lost: list[int]
    """Messages that the template leaves out, at least in part."""
    strange: list[int]
    """Messages not of the assistant that stand in a generation block."""


class AnswerFinder:
    """Renders conversations with one tokenizer's template. Keeps what it learns about the template."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        apart = tokenizer.for_tools is not tokenizer
        self._with_tools = AnswerFinder(tokenizer.for_tools) if apart else None
        """Of another template."""
        self._has_blocks = has_generation_markers(tokenizer.chat_template or "")
        self._openings: dict[tuple[str, str, bool], str] = {}
        ids = {PromptEncoder(tokenizer).turn_end, tokenizer.eos_id} - {None}
        ends = sorted((tokenizer.token_text(one) for one in ids if one is not None), key=len, reverse=True)
        pattern = "|".join(map(re.escape, ends))
        self._end = re.compile(pattern) if ends else _NOTHING
        self._end_after_space = re.compile(rf"\s*(?:{pattern})") if ends else _NOTHING

    def find(self, messages: list[Message], tools: list[Any] | None = None) -> Found:
        """Render a conversation and find the answers in it.

        Raises:
            MissingError, ConfigError: there is no template, or it does not parse.
            ExampleError: the template refuses the messages (`template.refused`), or does not let the answers
                be told from the rest (`mask.unclear`).
        """
        if tools is not None and self._with_tools is not None:
            return self._with_tools.find(messages, tools)
        with one_moment():
            try:
                if self._has_blocks:
                    text, blocks = render_generations(self._tokenizer, messages, tools=tools)
                else:
                    text, blocks = render_chat(self._tokenizer, messages, tools=tools), []
            except DataError as error:
                raise ExampleError("template.refused", error.problem, hint=error.hint) from None
            marks = self._marks(messages, tools, text)
            if self._has_blocks:
                answers = _of_blocks(blocks, messages)
            else:
                found = None if marks is None else self._by_marks(text, marks, messages, tools)
                answers = self._by_prefixes(text, messages, tools) if found is None else found
        strange = _strange(text, answers, marks, messages) if self._has_blocks else []
        return Found(text, answers, marks.lost if marks else [], strange)

    def _marks(self, messages: list[Message], tools: list[Any] | None, text: str) -> Marks | None:
        """Where each message stands in the text; None where the template does not leave the marks alone."""
        marked = mark_messages(messages)
        if marked is None:
            return None
        try:
            stripped, marks = strip_marks(render_chat(self._tokenizer, marked, tools=tools), marked)
        except DataError:
            return None
        return marks if stripped == text else None

    def _by_marks(
        self, text: str, marks: Marks, messages: list[Message], tools: list[Any] | None
    ) -> list[Answer] | None:
        answers: list[Answer] = []
        reached = 0
        for number, message in enumerate(messages):
            if message.get("role") != "assistant":
                continue
            start = self._start(text, marks, messages, number, tools)
            end = None if start is None else self._finish(text, marks, message, number, start)
            if start is None or end is None or start < reached:
                return None
            answers.append(Answer(number, start, end))
            reached = end
        return answers

    def _start(
        self, text: str, marks: Marks, messages: list[Message], number: int, tools: list[Any] | None
    ) -> int | None:
        """Where an answer begins: behind what the template writes to have it written.

        Where it does not stand there as a whole, its end does (a template writes instructions before it), or
        its beginning right before the answer (one opens thoughts that a past answer is shown without).
        """
        begin = marks.starts.get(number, marks.thoughts.get(number))
        if number == 0:
            return self._first_start(text, begin, tools)
        anchor = marks.ends.get(number - 1)
        if anchor is None:
            return None
        before = messages[number - 1]
        key = (str(before.get("role")), marks.spaces[number - 1], tools is not None)
        opening = None if before.get("tool_calls") else self._openings.get(key)
        if opening is None or not text.startswith(opening, anchor):
            opening = self._opening(messages[:number], tools)
            if opening is None:
                return None
            if not before.get("tool_calls"):
                self._openings[key] = opening
        if text.startswith(opening, anchor):
            return anchor + len(opening)
        if begin is None:
            return None
        header = text.rfind(self._header, anchor, begin) if self._header else -1
        if header >= 0:
            return header + len(self._header)
        start = min(begin, anchor + _shared(opening, text[anchor:]))
        return start if start > anchor and not text[start:begin].strip() else None

    def _first_start(self, text: str, begin: int | None, tools: list[Any] | None) -> int | None:
        """The same for an answer that no message comes before."""
        try:
            opening = render_chat(self._tokenizer, [], tools=tools, add_generation_prompt=True)
            if text.startswith(opening):
                return len(opening)
        except DataError:
            pass  # a template that looks at the first message: what it opens with is seen on another
        place = text.rfind(self._header, 0, begin) if self._header and begin is not None else -1
        return None if place < 0 else place + len(self._header)

    @functools.cached_property
    def _header(self) -> str:
        """What asking for an answer adds to a text; empty where the template adds nothing."""
        try:
            asked, told = (
                render_chat(self._tokenizer, TRIAL[:1], add_generation_prompt=prompt)
                for prompt in (True, False)
            )
        except DataError:
            return ""
        return asked[_shared(asked, told) :]

    @functools.cached_property
    def _trailer(self) -> str:
        """What the template writes behind the last turn."""
        try:
            after = render_chat(self._tokenizer, TRIAL).rpartition(TRIAL[-1]["content"])[2]
        except DataError:
            return ""
        closing = self._end_after_space.match(after)
        return after[closing.end() :] if closing else after

    def _opening(self, before: list[Message], tools: list[Any] | None) -> str | None:
        """What follows the last of some messages when an answer is asked for."""
        marked = mark_messages(before)
        if marked is None:
            return None
        try:
            rendered = render_chat(self._tokenizer, marked, tools=tools, add_generation_prompt=True)
        except DataError:
            return None
        text, marks = strip_marks(rendered, marked)
        end = marks.ends.get(len(before) - 1)
        return None if end is None else text[end:]

    def _finish(self, text: str, marks: Marks, message: Message, number: int, start: int) -> int | None:
        """Where an answer ends: behind the token that ends the turn, or behind its text if there is none."""
        said = marks.ends.get(number)
        if said is not None and not message.get("tool_calls"):
            closing = self._end_after_space.match(text, said)
            return max(start, closing.end() if closing else said)
        upto = len(text) - len(self._trailer) if text.endswith(self._trailer) else len(text)
        next_message = min((end for later, end in marks.ends.items() if later > number), default=upto)
        closing = self._end.search(text, max(start, said or 0))
        if closing is not None and closing.end() <= next_message:
            return closing.end()
        return None if message.get("tool_calls") else start

    def _by_prefixes(self, text: str, messages: list[Message], tools: list[Any] | None) -> list[Answer]:
        answers = []
        for number, message in enumerate(messages):
            if message.get("role") != "assistant":
                continue
            try:
                before = render_chat(
                    self._tokenizer, messages[:number], tools=tools, add_generation_prompt=True
                )
                upto = render_chat(self._tokenizer, messages[: number + 1], tools=tools)
            except DataError:
                raise _unclear(number) from None
            start, reach = len(before), _shared(upto, text)
            closing = self._end.search(text, start, reach)
            if not text.startswith(before) or reach < start or (closing is None and reach < len(upto)):
                raise _unclear(number)
            answers.append(Answer(number, start, closing.end() if closing else reach))
        return answers


def _of_blocks(blocks: list[tuple[int, int]], messages: list[Message]) -> list[Answer]:
    """The template's own blocks; each belongs to one answer where there are as many of both."""
    written = [number for number, message in enumerate(messages) if message.get("role") == "assistant"]
    owners = written if len(written) == len(blocks) else [-1] * len(blocks)
    return [Answer(owner, *block) for owner, block in zip(owners, blocks, strict=True)]


def _strange(text: str, answers: list[Answer], marks: Marks | None, messages: list[Message]) -> list[int]:
    """Messages of others that stand in an answer; without marks, those whose text none of its own has."""
    others = [number for number, message in enumerate(messages) if message.get("role") != "assistant"]
    if marks is not None:
        ends = {number: marks.ends[number] for number in others if number in marks.ends}
        return [n for n, end in ends.items() if any(one.start < end <= one.end for one in answers)]
    learnt = "\0".join(text[one.start : one.end] for one in answers)
    written = "\0".join(text_of(one) or "" for one in messages if one.get("role") == "assistant")
    said = {number: (text_of(messages[number]) or "").strip() for number in others}
    return [number for number, one in said.items() if one and one in learnt and one not in written]


def _shared(first: str, second: str) -> int:
    """How many characters two texts begin with in common."""
    if second.startswith(first):
        return len(first)
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if first[:middle] == second[:middle] else (low, middle - 1)
    return low


def _unclear(number: int) -> ExampleError:
    return ExampleError(
        "mask.unclear",
        f"message {number}: the chat template does not let its text be told from the rest",
        hint="put {% generation %}…{% endgeneration %} around what the assistant writes, in --template FILE",
    )
