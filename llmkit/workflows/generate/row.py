"""One prompt as a request: ids, plain text, or a conversation in the tokenizer's template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from llmkit.engine.config import SamplingConfig
from llmkit.engine.grammar import Rule
from llmkit.engine.request import Request
from llmkit.errors import ConfigError, DataError, UsageError
from llmkit.formats.jsonl import MALFORMED, Record
from llmkit.tokens.prompt import PromptEncoder
from llmkit.workflows.generate.batch import Call, RefusedError, is_call
from llmkit.workflows.generate.job import Job, no_tokenizer

Message = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A prompt, and what comes out with its texts."""

    request: Request
    """Its seed is the row's own."""
    record: Record
    """The object that comes out, with the results put into it."""
    text: str | None = None
    """What was encoded, but for the prefill; None for a row of tokens."""
    prefill: str = ""
    """What the text begins with: read by the model like the prompt, and written before what it draws."""
    call: Call | None = None
    """Of a row of OpenAI's batch files, which is answered in kind."""
    skip: frozenset[int] = frozenset()
    """Samples that are written already."""
    messages: list[Message] | None = None
    """The conversation, where functions may be called."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the chat template is told beside it."""
    reread_tokens: int = 0
    """Of the prompts after the first one, where functions were called: each has the results in it."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts that its text was written after."""
        return len(self.request.prompt) + self.reread_tokens


@dataclass(frozen=True)
class Refusal:
    """A row of OpenAI's batch files that gets an error for its answer."""

    call: Call
    error: RefusedError
    record: Record


def row_of_ids(job: Job, ids: list[int], record: Record, sampling: SamplingConfig) -> Row:
    """Of token ids.

    Raises:
        UsageError, ConfigError, DataError: the model cannot do it, or what it is held to makes no sense.
        MissingError: there is no tokenizer, and it needs one.
    """
    return _checked(job, Row(Request(tuple(ids), sampling), record), sampling.rule)


def row_of_text(job: Job, text: str, record: Record, sampling: SamplingConfig, *, suffix: str = "") -> Row:
    """Of plain text; with a suffix, of a gap between the two.

    Raises what `row_of_ids` does, also where there is no id to begin with, or none for a gap.
    """
    encoder = encoder_of(job)
    if suffix:
        gap = Request(tuple(encoder.encode_gap(text, suffix)), sampling, encoder.gap_ends)
        return _checked(job, Row(gap, record, text), sampling.rule)
    ids = encoder.encode(text)
    if not ids:
        raise UsageError(
            "the prompt is empty, and the tokenizer has neither bos nor eos to begin with",
            hint="give it some text",
        )
    return _checked(job, Row(Request(tuple(ids), sampling), record, text), sampling.rule)


def row_of_chat(
    job: Job,
    messages: list[Message],
    tools: list[Message] | None,
    record: Record,
    sampling: SamplingConfig,
    settings: Mapping[str, Any] | None = None,
) -> Row:
    """Of a conversation, read as `serve` reads it. Where a text has no rule of its own, its calls of strict
    tools are held to their schemas.

    Args:
        job: what holds where the record says nothing else.
        messages, tools: in OpenAI's words.
        record: what comes out with the text.
        sampling: how it is drawn.
        settings: what is said to the template beside all that.

    Raises:
        DataError: a message or a tool that a server would refuse, or the template refuses them.
        UsageError, ConfigError, MissingError: see `row_of_ids`; also, there is no template.
    """
    from llmkit.workflows.generate.messages import read_conversation, read_functions  # only chats wait

    encoder, read, settings = encoder_of(job), read_conversation(messages), settings or {}
    if job.talk is not None:
        system = _system(job, read)
        ids, text = job.talk.encode([*system, *read], **settings)
        whole = [*system, *messages]
        talked = Row(
            Request(ids, sampling, encoder.turn_ends), record, text, messages=whole, settings=settings
        )
        return _checked(job, talked, job.talk.rule(sampling, 0))
    functions = read_functions(tools)
    rule = sampling.rule or _strict_rule(job, functions)
    return row_of_read_chat(job, read, functions, record, sampling, rule, settings)


def row_of_read_chat(
    job: Job,
    messages: list[Message],
    tools: Sequence[Message],
    record: Record,
    sampling: SamplingConfig,
    rule: Rule | None,
    settings: Mapping[str, Any] | None = None,
) -> Row:
    """Of a conversation that has been read.

    Args:
        job, record, sampling: as for `row_of_chat`.
        messages: as `read_messages` gives them.
        tools: what the model is told that it may call.
        rule: what the text must be; None: it is free.
        settings: what is said to the template beside all that.

    Raises:
        UsageError, ConfigError, DataError, MissingError: see `row_of_chat`.
    """
    encoder = encoder_of(job)
    text = encoder.render_told([*_system(job, messages), *messages], tools, **(settings or {}))
    prefill = _prefill(job, record)
    if prefill and rule is not None:
        raise UsageError(f"a prefill and {rule[0]} exclude each other", hint="the rule is for the whole text")
    ids = tuple(encoder.encode_rendered(text + prefill))
    return _checked(job, Row(Request(ids, sampling, encoder.turn_ends), record, text, prefill), rule)


def _strict_rule(job: Job, tools: Sequence[Message]) -> Rule | None:
    """What holds calls of strict tools to their schemas; None: no tool is strict, or calls have no mark.

    Raises:
        DataError: a schema that calls cannot be held to.
    """
    if job.tokenizer is None or not any(one["function"].get("strict") is True for one in tools):
        return None
    from llmkit.tokens.tools.grammar import strict_grammar  # for those who are strict

    try:
        source = strict_grammar(job.tool_form, tools)
    except ConfigError as error:
        raise DataError(error.problem, hint=error.hint) from None
    return None if source is None else ("tools", source)


def _system(job: Job, messages: list[Message]) -> list[Message]:
    """The flag's system message, before a conversation that has none."""
    if job.config.system is None or messages[0]["role"] == "system":
        return []
    return [{"role": "system", "content": job.config.system}]


def _prefill(job: Job, record: Record) -> str:
    """What the reply begins with: the row's own words, or the flag's."""
    if "prefill" not in record or is_call(record):
        return job.config.prefill or ""
    try:
        return msgspec.json.decode(record["prefill"], type=str | None) or ""
    except MALFORMED as error:
        raise DataError(f'"prefill": {error}', hint="the text that the reply begins with") from None


def _checked(job: Job, row: Row, rule: Rule | None) -> Row:
    """A row that the model can do, held to a rule."""
    row.request.check(job.model)
    if job.tokenizer is None and row.request.sampling.needs_text:
        raise no_tokenizer(job.files.model)
    return replace(row, request=job.bound(row.request, rule))


def encoder_of(job: Job) -> PromptEncoder:
    """What encodes prompts; raises MissingError where there is no tokenizer."""
    if job.encoder is None:
        raise no_tokenizer(job.files.model)
    return job.encoder
