"""`/v1/responses`: OpenAI's newer endpoint, for text. Source: OpenAI's API reference, "Responses".

A response is kept unless `store` is false (see `server/kept_responses.py`): `previous_response_id` goes on
from it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from llmkit.engine.config import NO_RULE, SamplingConfig
from llmkit.errors import ConfigError
from llmkit.server.answer import Answered, Piece, Said, Usage, parts_of
from llmkit.server.ask import Ask
from llmkit.server.errors import refused
from llmkit.server.wire.chat import read_retrieve
from llmkit.server.wire.messages_in import read_messages, read_template_kwargs
from llmkit.server.wire.names import RESPONSES, named_error
from llmkit.server.wire.response_items import read_items
from llmkit.server.wire.response_output import output_item, said_item
from llmkit.server.wire.rules import read_format
from llmkit.server.wire.sampling import RETENTIONS, WireLimits, refuse_what_is_not_done
from llmkit.server.wire.tools import as_chats_choose, read_offer

HARMLESS: dict[str, tuple[Any, ...]] = {
    "service_tier": ("auto", "default"),
    "prompt_cache_retention": RETENTIONS,
    "conversation": (),
    "background": (False,),
    "include": ([], ["reasoning.encrypted_content"]),
    "truncation": ("disabled",),
    "prompt": (),
    "max_tool_calls": (),
    "top_logprobs": (0,),
    "stream_options": ({}, {"include_obfuscation": False}),
}
"""Parameters that are not done here, with the values that ask for nothing. What is thought comes as it is:
nothing of it is encrypted."""

MOST_METADATA = 16
MOST_NAME = 64
MOST_VALUE = 512


class ResponsesRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body."""

    input: str | list[dict[str, Any]]
    model: str | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stream: bool | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    """See `sampling.HINTS`."""
    cache_salt: str | None = None
    retrieve: bool | None = None
    store: bool | None = None
    """Whether the answer is kept; it is where nothing is said."""
    metadata: dict[str, str] | None = None
    """Told again with the response."""
    previous_response_id: str | None = None
    """Of the response from which the conversation goes on."""
    service_tier: Any = None
    prompt_cache_retention: Any = None
    conversation: Any = None
    background: Any = None
    include: Any = None
    truncation: Any = None
    prompt: Any = None
    max_tool_calls: Any = None
    top_logprobs: Any = None
    stream_options: Any = None


def read_response(
    told: ResponsesRequest,
    base: SamplingConfig,
    limits: WireLimits,
    *,
    max_tokens: int,
    functions: tuple[dict[str, Any], ...] = (),
    earlier: Sequence[dict[str, Any]] = (),
    keeps: bool = False,
) -> Ask:
    """What a body asks for.

    Args:
        told: the body, decoded.
        base: settings that hold where it says nothing.
        limits: how much it may ask for.
        max_tokens: of a reply that says no number.
        functions: that the server runs, for a request without tools of its own.
        earlier: items of the conversation that it goes on from.
        keeps: whether the server keeps responses.

    Raises:
        ApiError: 400, naming the parameter that cannot be followed.
    """
    refuse_what_is_not_done(told, HARMLESS)
    _check_metadata(told.metadata or {})
    most = max_tokens if told.max_output_tokens is None else told.max_output_tokens
    given: dict[str, Any] = {"max_tokens": most, "samples": 1}
    for name in ("temperature", "top_p"):
        if (value := getattr(told, name)) is not None:
            given[name] = value
    given |= _text(told.text, limits)
    names = RESPONSES | dict.fromkeys(NO_RULE, "text.format")
    try:
        sampling = replace(base, **given)
    except ConfigError as error:
        raise named_error(error, names) from None
    tools = None if told.tools is None else [_tool(one, place) for place, one in enumerate(told.tools)]
    offer = read_offer(tools, as_chats_choose(told.tool_choice), functions)
    turns, places = read_items(told.instructions, told.input, earlier)
    return Ask(
        kind="chat",
        model=told.model or "",
        sampling=sampling,
        messages=read_messages(turns, "input", places),
        tools=offer.tools,
        server_tools=offer.by_server,
        tool_choice=offer.choice,
        parallel_tool_calls=told.parallel_tool_calls is not False and offer.choice.name is None,
        passages=read_retrieve(told.retrieve),
        template_kwargs=_reasoning(told.reasoning),
        stream=bool(told.stream),
        user=told.user or told.safety_identifier or "",
        cache_salt=told.cache_salt or "",
        names=names,
        echoed=_echoed(told, keeps=keeps),
    )


def response_object(who: Answered, answers: Sequence[Sequence[Piece]], usage: Usage) -> dict[str, Any]:
    """The answer in one piece.

    Args:
        who: answers.
        answers: the pieces of the one answer.
        usage: what it took.
    """
    pieces = answers[0]
    parts = parts_of(pieces)
    output = [output_item(who, part, place) for place, part in enumerate(parts)]
    last = parts[-1]
    if isinstance(last, Said) and pieces[-1].finish == "length":
        output[-1] = said_item(who, last, len(output) - 1, cut=True)
    return closed(who, output, usage, pieces[-1])


def opened(who: Answered) -> dict[str, Any]:
    """A response with nothing in it yet."""
    cited = {} if who.citations is None else {"citations": who.citations}
    return cited | {
        "id": who.id,
        "object": "response",
        "created_at": who.created,
        "model": who.model,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "output": [],
        "max_output_tokens": None,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "temperature": None if who.sampling is None else who.sampling.temperature,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None if who.sampling is None else who.sampling.top_p,
        "usage": None,
        **who.echoed,
    }


def closed(who: Answered, output: list[dict[str, Any]], usage: Usage, last: Piece) -> dict[str, Any]:
    """A response that is over."""
    cut = last.finish == "length"
    return opened(who) | {
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": output,
        "usage": {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {"cached_tokens": usage.cached_tokens},
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": usage.total_tokens,
        },
    }


def _check_metadata(metadata: dict[str, str]) -> None:
    """Refuse more than OpenAI's API takes.

    Raises:
        ApiError: 400.
    """
    if len(metadata) > MOST_METADATA:
        raise refused("metadata", f"at most {MOST_METADATA} entries (found {len(metadata)})")
    for name, value in metadata.items():
        if len(name) > MOST_NAME or len(value) > MOST_VALUE:
            raise refused("metadata", f"names of {MOST_NAME} characters at most, values of {MOST_VALUE}")


def _echoed(told: ResponsesRequest, *, keeps: bool) -> dict[str, Any]:
    """What a response says again of its request: what a client said, or what holds where it said nothing."""
    return {
        "metadata": told.metadata or {},
        "previous_response_id": told.previous_response_id,
        "store": keeps and told.store is not False,
        "instructions": told.instructions,
        "max_output_tokens": told.max_output_tokens,
        "parallel_tool_calls": told.parallel_tool_calls is not False,
        "tool_choice": told.tool_choice or "auto",
        "tools": told.tools or [],
    }


def _text(text: dict[str, Any] | None, limits: WireLimits) -> dict[str, Any]:
    """The rule that `text.format` sets."""
    if text is None:
        return {}
    for name in text:
        if name not in ("format", "verbosity") or (
            name == "verbosity" and text[name] not in (None, "medium")
        ):
            raise refused(f"text.{name}", "is not done here", code="unsupported_parameter")
    match text.get("format"):
        case None | {"type": "text"}:
            return {}
        case {"type": "json_object"} as plain:
            return read_format(plain, limits.rule_bytes, "text.format")
        case {"type": "json_schema", "schema": dict() as schema}:
            wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
            return read_format(wanted, limits.rule_bytes, "text.format")
    raise refused("text.format", 'of type "text", "json_object", or "json_schema" with a schema')


def _reasoning(reasoning: dict[str, Any] | None) -> dict[str, Any]:
    said = {name: value for name, value in (reasoning or {}).items() if value is not None}
    if said.get("summary") == "auto":  # the most there is, and there is none: thoughts come whole
        said.pop("summary")
    match said:
        case {} if not said:
            return {}
        case {"effort": str() as effort} if len(said) == 1:
            return read_template_kwargs(None, effort)
    raise refused("reasoning", 'only {"effort": TEXT, "summary": "auto"} is known')


def _tool(tool: dict[str, Any], number: int) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise refused(f"tools[{number}]", f"of type {tool.get('type')!r}: only functions are called here")
    function = {key: value for key, value in tool.items() if key != "type" and value is not None}
    return {"type": "function", "function": function}
