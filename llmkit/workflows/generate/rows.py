"""Prompts as requests: one from an argument or a file, or jsonl rows with settings of their own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Request, no_adapter
from llmkit.engine.seeds import derive_seed
from llmkit.errors import DataError, LlmkitError, MissingError, UsageError
from llmkit.formats.digest import content_id
from llmkit.formats.jsonl import MALFORMED, BadLine, Line, Record, decode_field, raw, read_records, record_id
from llmkit.formats.text_file import read_text_file
from llmkit.tokens.prompt import PromptEncoder
from llmkit.workflows.generate.batch import Call, RefusedError, is_call, read_body, read_call
from llmkit.workflows.generate.job import Job, no_tokenizer
from llmkit.workflows.generate.overrides import OVERRIDES, as_fields
from llmkit.workflows.tool.check import check_tool_row


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
    messages: list[dict[str, Any]] | None = None
    """The conversation, where functions may be called."""
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


def read_prompt(job: Job) -> Row:
    """The one prompt of a job without rows: from the command line, a file or stdin.

    Raises:
        UsageError: it does not fit the model, or is empty where the tokenizer has no token to begin with.
        DataError: it is not UTF-8, or the tokenizer or the template refuses it.
    """
    text = job.files.prompt
    if text is None:
        assert job.files.file is not None
        text = _read_text(job.files.file)
    elif any("\ud800" <= letter <= "\udfff" for letter in text):  # how Python keeps bytes that are no UTF-8
        raise UsageError("the prompt is not UTF-8", hint="iconv -f latin1 -t utf-8 FILE | llmkit generate …")
    sampling = job.sampling
    if job.config.mark_below is not None:
        sampling = replace(sampling, logprobs=0)
    if len(names := job.adapters.names) > 1:
        raise UsageError(
            f"{len(names)} adapters and one prompt: nothing says which of {', '.join(names)} it is for",
            hint='one --adapter, or --jsonl with rows {"prompt": TEXT, "adapter": NAME}',
        )
    return _adapted(_from_text(job, text, {"prompt": raw(text)}, sampling), job.adapters.default)


def read_rows(
    job: Job, path: Path, on_bad: Callable[[BadLine], None] | None = None
) -> Iterator[Row | Refusal]:
    """The rows of a jsonl file or of stdin (`-`), in order, one at a time.

    Args:
        job: what holds where a row says nothing else.
        path: the file.
        on_bad: called with each row that cannot be used, which is then skipped; None: it is an error.

    Raises:
        DataError: a row that cannot be used.
        MissingError: a row needs a tokenizer or a chat template, and there is none.
    """
    for line in read_records(path, on_bad=on_bad):
        try:
            row = _called(job, line) if is_call(line.record) else _row(job, line)
        except (UsageError, DataError) as error:
            problem = error.problem.removeprefix(f"{line.where}: ")
            if on_bad is None:
                raise DataError(f"{line.where}: {problem}", hint=error.hint) from None
            on_bad(BadLine(msgspec.json.encode(line.record), line.file, line.number, problem))
        else:
            yield row


def _read_text(path: Path) -> str:
    """A file as a prompt: all of it but one line feed at its end, which editors and echo put there."""
    return read_text_file(path).removesuffix("\n")


def _row(job: Job, line: Line) -> Row:
    """The row of a record. Without a template the first of `tokens`, `messages` and `prompt` counts."""
    record = line.record
    given = {name: decode_field(line, name, kind) for name, kind in OVERRIDES.items() if _has(record, name)}
    sampling = replace(job.sampling, **as_fields(given))
    has_tokens, has_messages = (
        job.template is None and _has(record, name) for name in ("tokens", "messages")
    )
    check_tool_row(line, job.talk)
    if _has(record, "prefill") and (has_tokens or not (has_messages or job.config.chat)):
        raise DataError(
            "a prefill, and no chat to reply in", hint="put it at the end of the prompt, or add --chat"
        )
    if job.template is not None:
        row = _from_text(job, job.template.fill(record), record, sampling)
    elif has_tokens:
        row = _checked(job, Row(Request(tuple(decode_field(line, "tokens", list[int])), sampling), record))
    elif has_messages:
        tools = decode_field(line, "tools", list | None) if "tools" in record else None
        row = _from_chat(job, decode_field(line, "messages", list[dict]), tools, record, sampling)  # type: ignore[type-arg]
    elif _has(record, "prompt"):
        row = _from_text(job, decode_field(line, "prompt", str), record, sampling)
    else:
        raise DataError(
            f"no prompt, messages or tokens (found: {', '.join(record) or 'no keys at all'})",
            hint='a row is {"prompt": TEXT}, {"messages": [{"role", "content"}, …]} or {"tokens": [ID, …]}',
        )
    row = _adapted(row, _adapter(job, line))
    return row if "seed" in given else _seeded(row, record_id(line))


def _adapter(job: Job, line: Line) -> str | None:
    """What a row names, null being the base alone; or the job's one adapter."""
    if "adapter" not in line.record:
        return job.adapters.default
    name = decode_field(line, "adapter", str | None)
    if name is not None and name not in job.adapters.names:
        raise no_adapter(name, job.adapters.names)
    return name


def _adapted(row: Row, adapter: str | None) -> Row:
    return replace(row, request=replace(row.request, adapter=adapter))


def _seeded(row: Row, name: str | None) -> Row:
    """A row with a seed of its own: by its name, or by its prompt where it has none."""
    sampling = row.request.sampling
    key = name or content_id(" ".join(map(str, row.request.prompt)))
    seeded = replace(sampling, seed=derive_seed(sampling.seed, key))
    return replace(row, request=replace(row.request, sampling=seeded))


def _called(job: Job, line: Line) -> Row | Refusal:
    """A row of OpenAI's batch files; what is wrong with it is the answer, but for what no row can do without.

    Raises:
        DataError: it has no custom_id.
        MissingError: there is no tokenizer, or no template.
    """
    path = job.files.model
    name = path.name or path.resolve().name
    call = read_call(line, name)
    try:
        body = read_body(line.record, (name, str(path), *job.adapters.names))
        sampling = replace(job.sampling, **as_fields(body.given))
        if job.config.extract_code:
            raise RefusedError("--extract-code is not for rows of a batch file")
        if job.talk is not None:
            raise RefusedError("--tool is not for rows of a batch file")
        if call.is_chat:
            row = _from_chat(job, body.messages, None, line.record, sampling)
        elif isinstance(body.prompt, str):
            row = _from_words(job, body.prompt, line.record, sampling)
        else:
            _encoder(job)  # the answer is text
            row = _checked(job, Row(Request(tuple(body.prompt), sampling), line.record))
        if "seed" not in body.given:
            row = _seeded(row, call.custom_id)
    except RefusedError as error:
        return Refusal(call, error, line.record)
    except MissingError:
        raise
    except LlmkitError as error:
        about = error.problem.partition(" ")[0].strip(":")
        return Refusal(
            call, RefusedError(error.problem, param=about if about in OVERRIDES else None), line.record
        )
    adapter = body.model if body.model in job.adapters.names else job.adapters.default
    request = replace(row.request, key=body.owner, adapter=adapter)
    return replace(row, call=replace(call, echo=body.echo), request=request)


def _from_text(job: Job, text: str, record: Record, sampling: SamplingConfig) -> Row:
    if job.config.chat:
        return _from_chat(job, [{"role": "user", "content": text}], None, record, sampling)
    return _from_words(job, text, record, sampling)


def _from_words(job: Job, text: str, record: Record, sampling: SamplingConfig) -> Row:
    encoder = _encoder(job)
    ids = encoder.encode(text)
    if not ids:
        raise UsageError(
            "the prompt is empty, and the tokenizer has neither bos nor eos to begin with",
            hint="give it some text",
        )
    return _checked(job, Row(Request(tuple(ids), sampling), record, text))


def _from_chat(
    job: Job,
    messages: list[dict[str, Any]],
    tools: list[Any] | None,
    record: Record,
    sampling: SamplingConfig,
) -> Row:
    encoder = _encoder(job)
    if job.config.system is not None and (not messages or messages[0].get("role") != "system"):
        messages = [{"role": "system", "content": job.config.system}, *messages]
    if job.talk is not None:
        ids, text = job.talk.encode(messages)
        return _checked(job, Row(Request(ids, sampling, encoder.turn_ends), record, text, messages=messages))
    text, prefill = encoder.render(messages, tools), _prefill(job, record)
    if prefill and sampling.rule is not None:
        raise UsageError(
            f"a prefill and {sampling.rule[0]} exclude each other", hint="the rule is for the whole text"
        )
    ids = tuple(encoder.encode_rendered(text + prefill))
    return _checked(job, Row(Request(ids, sampling, encoder.turn_ends), record, text, prefill))


def _prefill(job: Job, record: Record) -> str:
    """What the reply begins with: the row's own words, or the flag's."""
    if "prefill" not in record or is_call(record):
        return job.config.prefill or ""
    try:
        return msgspec.json.decode(record["prefill"], type=str | None) or ""
    except MALFORMED as error:
        raise DataError(f'"prefill": {error}', hint="the text that the reply begins with") from None


def _checked(job: Job, row: Row) -> Row:
    row.request.check(job.model)
    sampling = row.request.sampling
    if job.tokenizer is None and sampling.needs_text:
        raise no_tokenizer(job.files.model)
    rule = sampling.rule if job.talk is None else job.talk.rule(sampling, 0)
    return replace(row, request=job.bound(row.request, rule))


def _encoder(job: Job) -> PromptEncoder:
    if job.encoder is None:
        raise no_tokenizer(job.files.model)
    return job.encoder


def _has(record: Record, key: str) -> bool:
    """Whether a record says something at a key: null says nothing."""
    return key in record and bytes(record[key]) != b"null"
