"""What `llmkit eval tokens` reads: a text, or records with an answer, cut into the ids that are scored."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmkit.errors import DataError, UsageError, at_place
from llmkit.formats.digest import content_id
from llmkit.formats.file_kind import kind_of_input
from llmkit.formats.jsonl import Line, Record, decode_field, parse_records, raw, record_id
from llmkit.formats.not_utf8 import is_utf8, utf8_hint
from llmkit.formats.streams import input_name, open_input
from llmkit.tokens.content_parts import joined_parts
from llmkit.workflows.eval.scorer import Scorer

SEPARATOR = "\n\n"
"""Between a passage and what comes after it."""


@dataclass(frozen=True)
class Sample:
    """A text to score."""

    id: str
    where: str
    record: Record
    """What comes out beside the scores."""
    prompt: str = ""
    messages: list[dict[str, Any]] | None = None
    """A conversation in place of the prompt, as `read_conversation` gives it."""
    tools: list[dict[str, Any]] = field(default_factory=list)
    """What the model may call in it."""
    answer: str | None = None
    """None: the prompt itself is what is looked at."""
    line: Line | None = None


@dataclass(frozen=True)
class Encoded:
    """The ids of a sample, and where its answer begins; without an answer, where the text does."""

    ids: list[int]
    start: int
    with_passage: list[int] = field(default_factory=list)
    """The same with a passage before it: as many ids at the end are the answer's."""


def read_samples(text: str | None, path: Path | None, *, chat: bool) -> Iterator[Sample]:
    """A text from the command line, or the texts of a file; `-` is stdin.

    Args:
        text: None: a file is read.
        path: jsonl has a sample in each line; anything else is one text.
        chat: whether a bare text is a user's message.

    Raises:
        MissingError: no such file.
        DataError: a record has none of text, prompt and messages, or a file is not UTF-8.
    """
    if text is not None:
        yield _bare(text, "", {"text": raw(text)}, chat)
        return
    assert path is not None
    name = input_name(path)
    with open_input(path) as stream:
        kind, stream = kind_of_input(path, stream)
        if kind == "jsonl":
            for number, line in enumerate(parse_records(stream, name)):
                yield _sample(line, number)
            return
        content = stream.read()
        try:
            whole = content.decode().removesuffix("\n")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name}: not UTF-8 (byte {error.start})", hint=utf8_hint(name, content)
            ) from None
    yield _bare(whole, name, {"text": raw(whole)}, chat)


def encode_sample(sample: Sample, scorer: Scorer, passage: str | None) -> Encoded:
    """The ids of a sample, with and without a passage.

    A passage stands before a prompt, or before the words of a conversation's last user. The ids of the
    answer are those without it, so that the same tokens are compared.

    Raises:
        UsageError, DataError, ConfigError, MissingError: see `Scorer.pair` and `PromptEncoder`.
    """
    encoder = scorer.encoder
    if sample.messages is not None:
        with at_place(sample.where or "the text"):
            head = encoder.render_told(sample.messages, sample.tools)
        first = encoder.encode_rendered(head)
        ids = encoder.encode_rendered(head + (sample.answer or ""))
        start = len(first) if sample.answer is not None else 0
        if passage is None:
            return Encoded(ids, start)
        _check_answer(sample, len(ids) - start)
        before = encoder.encode_rendered(encoder.render_told(_with_passage(sample, passage), sample.tools))
        return Encoded(ids, start, before + ids[start:])
    if sample.answer is None and passage is None:
        ids = encoder.encode(sample.prompt)
        return Encoded(ids, 0)
    prompt, answer = (sample.prompt, sample.answer) if sample.answer is not None else ("", sample.prompt)
    if prompt.strip():
        ids, start = scorer.pair(prompt, answer)
    else:  # where no token stands before a text, its first one is not scored
        first = encoder.encode("")
        ids, start = first + encoder.encode(prompt + answer, special=False), len(first)
    if passage is None:
        return Encoded(ids, start)
    _check_answer(sample, len(ids) - start)
    before = encoder.encode(passage.rstrip() + SEPARATOR + prompt.rstrip())
    return Encoded(ids, start, before + ids[start:])


def _check_answer(sample: Sample, tokens: int) -> None:
    """Refuse to compare nothing."""
    if tokens < 1:
        raise DataError(f"{sample.where or 'the text'}: an empty answer", hint="leave out --context")


def _with_passage(sample: Sample, passage: str) -> list[dict[str, Any]]:
    assert sample.messages is not None
    messages = [dict(message) for message in sample.messages]
    asked = [one for one in messages if one.get("role") == "user" and isinstance(one.get("content"), str)]
    if not asked:
        raise DataError(f"{sample.where}: no user to put a passage before", hint="leave out --context")
    if sample.answer is None:
        raise DataError(
            f"{sample.where}: no answer to compare", hint="add an assistant's message, or completion"
        )
    asked[-1]["content"] = passage.rstrip() + SEPARATOR + asked[-1]["content"]
    return messages


def _bare(text: str, where: str, record: Record, chat: bool) -> Sample:
    if not is_utf8(text):
        raise UsageError("the text is not UTF-8", hint="iconv -f latin1 -t utf-8 FILE | llmkit eval tokens …")
    if chat:
        return Sample(content_id(text), where, record, messages=[{"role": "user", "content": text}])
    return Sample(content_id(text), where, record, text)


def _sample(line: Line, number: int) -> Sample:
    """The sample of a record: messages, or prompt, or text; its answer is completion, or the last reply."""
    record = line.record
    name = record_id(line) or str(number)
    answer = decode_field(line, "completion", str) if "completion" in record else None
    if "messages" in record:
        return _talk(line, name, answer)
    for key in ("prompt", "text"):
        if key in record:
            return Sample(name, line.where, record, decode_field(line, key, str), answer=answer, line=line)
    raise DataError(
        f"{line.where}: no text, prompt or messages (found: {', '.join(record) or 'no keys at all'})",
        hint='a record is {"text"}, {"prompt", "completion"} or {"messages"}',
    )


def _talk(line: Line, name: str, answer: str | None) -> Sample:
    """The sample of a conversation, read as `generate` reads it; its answer, else the last reply."""
    from llmkit.workflows.generate.messages import read_conversation, read_functions  # only chats wait

    messages = decode_field(line, "messages", list[dict[str, Any]])
    tools = decode_field(line, "tools", list[dict[str, Any]] | None) if "tools" in line.record else None
    if answer is None and messages and messages[-1].get("role") == "assistant":
        answer, messages = joined_parts(messages[-1].get("content")), messages[:-1]
        if not isinstance(answer, str):
            raise DataError(f"{line.where}: the last reply is no text", hint="score replies of text")
    with at_place(line.where):
        read = read_conversation(messages) if messages else []  # an answer to nothing is one too
        functions = read_functions(tools)
    return Sample(name, line.where, line.record, messages=read, tools=functions, answer=answer, line=line)
