"""Prompts as requests: one from an argument or a file, or jsonl rows with settings of their own."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import no_adapter
from llmkit.engine.seeds import derive_seed
from llmkit.errors import DataError, LlmkitError, MissingError, UsageError
from llmkit.formats.digest import content_id
from llmkit.formats.jsonl import Line, OnBad, Record, decode_field, raw, read_records, record_id
from llmkit.formats.text_file import read_text_file
from llmkit.server.ask import Ask
from llmkit.server.errors import ApiError, as_api_error, renamed
from llmkit.workflows.generate.batch import Body, RefusedError, is_call, read_body, read_call
from llmkit.workflows.generate.job import Job
from llmkit.workflows.generate.overrides import OVERRIDES, as_fields
from llmkit.workflows.generate.row import (
    Message,
    Refusal,
    Row,
    encoder_of,
    row_of_chat,
    row_of_ids,
    row_of_read_chat,
    row_of_text,
)
from llmkit.workflows.generate.template_kwargs import KEY, read_kwargs
from llmkit.workflows.generate.tool_check import check_tool_row

if TYPE_CHECKING:
    from llmkit.workflows.generate.calls import Calls


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
    sampling = job.sampling
    if job.config.mark_below is not None:
        sampling = replace(sampling, logprobs=0)
    if len(names := job.adapters.names) > 1:
        raise UsageError(
            f"{len(names)} adapters and one prompt: nothing says which of {', '.join(names)} it is for",
            hint='one --adapter, or --jsonl with rows {"prompt": TEXT, "adapter": NAME}',
        )
    row = _from_text(
        job, text, {"prompt": raw(text)}, sampling, job.config.template_kwargs, job.config.suffix
    )
    return _adapted(row, job.adapters.default)


def read_rows(job: Job, path: Path, on_bad: OnBad | None = None) -> Iterator[Row | Refusal]:
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
            bad = line.bad(error)
            if on_bad is None:
                raise DataError(f"{line.where}: {bad.problem}", hint=error.hint) from None
            on_bad(bad)
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
    settings, suffix = _template_kwargs(job, line), _suffix(job, line)
    is_chat = not has_tokens and (has_messages or job.config.chat)
    if _has(record, "prefill") and not is_chat:
        raise DataError(
            "a prefill, and no chat to reply in", hint="put it at the end of the prompt, or add --chat"
        )
    if _has(record, KEY) and not is_chat:
        raise DataError(f'"{KEY}", and no chat to be put into a template', hint="leave it out, or add --chat")
    if (suffix or _has(record, "suffix")) and (is_chat or has_tokens):
        what = "chat" if is_chat else "row of tokens"
        name, hint = '"suffix"', 'leave it out, or give a "prompt"'
        if not _has(record, "suffix"):
            name, hint = "--suffix", 'leave it out, or say "suffix": null in the row'
        raise DataError(f"{name}, and a {what} has no gap", hint=hint)
    if job.template is not None:
        row = _from_text(job, job.template.fill(record), record, sampling, settings, suffix)
    elif has_tokens:
        row = row_of_ids(job, decode_field(line, "tokens", list[int]), record, sampling)
    elif has_messages:
        tools = decode_field(line, "tools", list[Message] | None) if "tools" in record else None
        messages = decode_field(line, "messages", list[Message])
        row = row_of_chat(job, messages, tools, record, sampling, settings)
    elif _has(record, "prompt"):
        row = _from_text(job, decode_field(line, "prompt", str), record, sampling, settings, suffix)
    else:
        raise DataError(
            f"no prompt, messages or tokens (found: {', '.join(record) or 'no keys at all'})",
            hint='a row is {"prompt": TEXT}, {"messages": [{"role", "content"}, …]} or {"tokens": [ID, …]}',
        )
    row = _adapted(row, _adapter(job, line))
    return row if "seed" in given else _seeded(row, record_id(line))


def _template_kwargs(job: Job, line: Line) -> dict[str, Any]:
    """What the chat template is told beside the conversation: the row's own words win over the flag's."""
    own = decode_field(line, KEY, dict[str, Any] | None) if KEY in line.record else None
    return {**job.config.template_kwargs, **(read_kwargs(own) if own else {})}


def _suffix(job: Job, line: Line) -> str | None:
    """What comes after the gap: the row's own words, or the flag's."""
    return decode_field(line, "suffix", str | None) if "suffix" in line.record else job.config.suffix


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
    calls, names = None, dict[str, str]()
    try:
        body = read_body(line.record, (name, str(path), *job.adapters.names))
        names = {"samples": "n"} | body.names
        sampling = replace(job.sampling, **as_fields(body.given), **body.rule)
        if job.config.extract_code:
            raise RefusedError("--extract-code is not for rows of a batch file")
        if job.talk is not None:
            raise RefusedError("--tool is not for rows of a batch file")
        if job.config.suffix is not None:
            raise RefusedError("--suffix is not for rows of a batch file, which say their own")
        if call.is_chat:
            calls = _calls(job, body, sampling)
            row = _chat(job, body, line.record, sampling, calls)
        elif isinstance(body.prompt, str):
            row = row_of_text(job, body.prompt, line.record, sampling, suffix=body.suffix)
        else:
            encoder_of(job)  # the answer is text
            row = row_of_ids(job, body.prompt, line.record, sampling)
        if "seed" not in body.given:
            row = _seeded(row, call.custom_id)
    except RefusedError as error:
        return Refusal(call, error, line.record)
    except ApiError as error:
        return Refusal(call, RefusedError.of(error), line.record)
    except MissingError:
        raise
    except LlmkitError as error:
        about = error.problem.partition(" ")[0].strip(":")
        param = about if about in (*OVERRIDES, "tools", "suffix") else None
        return Refusal(call, RefusedError.of(renamed(as_api_error(error, param), names)), line.record)
    adapter = body.model if body.model in job.adapters.names else job.adapters.default
    request = replace(row.request, key=body.owner, adapter=adapter)
    return replace(row, call=replace(call, echo=body.echo, calls=calls), request=request)


def _chat(job: Job, body: Body, record: Record, sampling: SamplingConfig, calls: "Calls | None") -> Row:
    rule = sampling.rule if calls is None else calls.rule(sampling.rule)
    settings = {**job.config.template_kwargs, **body.template_kwargs}
    row = row_of_read_chat(job, body.messages, body.tools, record, sampling, rule, settings)
    if calls is None:
        return row
    return replace(row, request=calls.freed(row.request, prompt=row.text or "", prefill=row.prefill))


def _from_text(
    job: Job,
    text: str,
    record: Record,
    sampling: SamplingConfig,
    settings: Mapping[str, Any],
    suffix: str | None,
) -> Row:
    if job.config.chat:
        return row_of_chat(job, [{"role": "user", "content": text}], None, record, sampling, settings)
    return row_of_text(job, text, record, sampling, suffix=suffix or "")


def _calls(job: Job, body: Body, sampling: SamplingConfig) -> "Calls | None":
    """What a row lets the model call, and how this model does it and thinks; None: neither.

    Raises:
        ApiError: see `Thinking.check_budget`.
    """
    if job.tokenizer is None:
        return None
    from llmkit.workflows.generate.calls import Calls  # chats alone wait for it

    ask = Ask(
        kind="chat",
        model="",
        sampling=sampling,
        tools=body.tools,
        tool_choice=body.choice,
        parallel_tool_calls=body.parallel,
        thinking_budget=body.thinking_budget,
    )
    job.thinking.check_budget(ask)
    if not body.tools and job.thinking.form(ask) is None:
        return None
    return Calls(job.tool_form, job.thinking, ask)


def _has(record: Record, key: str) -> bool:
    """Whether a record says something at a key: null says nothing."""
    return key in record and bytes(record[key]) != b"null"
