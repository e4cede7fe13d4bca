"""`/v1/messages`: Anthropic's endpoint for conversations. Source: Anthropic's API reference, "Messages"."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from llmkit.engine.config import NO_RULE, SamplingConfig
from llmkit.errors import ConfigError
from llmkit.server.answer import Answered, Piece, Usage
from llmkit.server.ask import Ask
from llmkit.server.errors import ApiError, refused
from llmkit.server.strict_json import as_whole
from llmkit.server.wire.chat import read_retrieve
from llmkit.server.wire.message_blocks import answer_blocks, read_blocks
from llmkit.server.wire.messages_in import NO_THOUGHTS, THOUGHTS, content_text, read_messages
from llmkit.server.wire.names import MESSAGES, named_error
from llmkit.server.wire.rules import read_format
from llmkit.server.wire.sampling import WireLimits, refuse_what_is_not_done
from llmkit.server.wire.tools import read_offer

HARMLESS: dict[str, tuple[Any, ...]] = {
    "service_tier": ("auto", "standard_only"),
    "mcp_servers": ([],),
    "container": (),
    "context_management": (),
    "thread": (),
    "speed": ("standard",),
    "cache_control": ({"type": "ephemeral"}, *({"type": "ephemeral", "ttl": ttl} for ttl in ("5m", "1h"))),
}
"""Parameters that are not done here, with the values that ask for nothing. Every prompt is looked for in the
cache without `cache_control`, as long as there is room for it."""


class MessagesRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body."""

    messages: list[dict[str, Any]]
    model: str | None = None
    max_tokens: int | None = None
    system: str | list[dict[str, Any]] | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    metadata: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    service_tier: Any = None
    thinking: dict[str, Any] | None = None
    mcp_servers: Any = None
    container: Any = None
    context_management: Any = None
    output_config: dict[str, Any] | None = None
    thread: Any = None
    speed: Any = None
    cache_control: Any = None
    retrieve: bool | None = None
    """Ours: whether passages are put before the question."""
    cache_salt: str | None = None
    """vLLM's, for all that write texts."""


def read_anthropic(
    told: MessagesRequest,
    base: SamplingConfig,
    limits: WireLimits,
    *,
    functions: tuple[dict[str, Any], ...] = (),
    counts: bool = False,
) -> Ask:
    """What a body asks for.

    Args:
        told: the body, decoded.
        base: settings that hold where it says nothing.
        limits: how much it may ask for.
        functions: that the server runs, for a request without tools of its own.
        counts: whether only its tokens are counted, so that it need not say how many to write.

    Raises:
        ApiError: 400, naming the parameter that cannot be followed.
    """
    if told.thread is not None:
        raise _no_thread()
    refuse_what_is_not_done(told, HARMLESS)
    if told.max_tokens is None and not counts:
        raise ApiError(400, "max_tokens: missing", code="missing_parameter", param="max_tokens")
    stops = tuple(told.stop_sequences or ())
    sizes = [len(one.encode()) for one in stops]
    if len(stops) > limits.stop_strings or not all(1 <= size <= limits.stop_bytes for size in sizes):
        most = f"at most {limits.stop_strings}, of 1 to {limits.stop_bytes} bytes"
        raise refused("stop_sequences", most)
    given: dict[str, Any] = {"max_tokens": 1 if told.max_tokens is None else told.max_tokens, "samples": 1}
    given |= _format(told.output_config, limits)
    for name in ("temperature", "top_p", "top_k"):
        if (value := getattr(told, name)) is not None:
            given[name] = value
    names = MESSAGES | dict.fromkeys(NO_RULE, "output_config.format")
    names |= {"thinking_token_budget": "thinking.budget_tokens"}
    try:
        sampling = replace(base, **given, stop=stops)
    except ConfigError as error:
        raise named_error(error, names) from None
    tools = None if told.tools is None else [_tool(one, number) for number, one in enumerate(told.tools)]
    choice, parallel = _choice(told.tool_choice)
    offer = read_offer(tools, choice, functions)
    turns, places = _conversation(told)
    messages = read_messages(turns, places=places)
    template_kwargs, budget = _thinking(told.thinking)
    prefill = ""
    if messages[-1]["role"] == "assistant" and "tool_calls" not in messages[-1]:
        if "reasoning_content" in messages[-1]:
            raise refused(places[-1], "an answer that is to be gone on with has text alone, no thinking")
        prefill, messages = messages[-1]["content"], messages[:-1]
    return Ask(
        kind="chat",
        model=told.model or "",
        sampling=sampling,
        messages=messages,
        tools=offer.tools,
        server_tools=offer.by_server,
        tool_choice=offer.choice,
        parallel_tool_calls=parallel,
        passages=read_retrieve(told.retrieve),
        template_kwargs=template_kwargs,
        thinking_budget=budget,
        prefill=prefill,
        stream=bool(told.stream),
        user=_user(told.metadata),
        cache_salt=told.cache_salt or "",
        names=names,
    )


def _no_thread() -> ApiError:
    """No conversation is held here. Anthropic's tool runner asks for that unasked; told so in these words it
    sends the whole conversation each time. Source: anthropic-sdk-python, lib/threads/_thread_state.py.
    """
    return ApiError(
        400,
        "thread: is not done here: nothing is kept, send the whole conversation",
        code="unsupported_parameter",
        param="thread",
        details={"error_code": "thread_unsupported_request", "unsupported": ["thread"]},
    )


def message_object(who: Answered, answers: Sequence[Sequence[Piece]], usage: Usage) -> dict[str, Any]:
    """The answer in one piece.

    Args:
        who: answers.
        answers: the pieces of the one answer.
        usage: what it took.
    """
    pieces = answers[0]
    reason, matched = stop_reason(pieces[-1])
    return opened(who) | {
        "content": answer_blocks(pieces),
        "stop_reason": reason,
        "stop_sequence": matched,
        "usage": anthropic_usage(usage),
    }


def opened(who: Answered) -> dict[str, Any]:
    """A message with nothing in it yet but what the marks of its passages stand for."""
    return {
        **({} if who.citations is None else {"citations": who.citations}),
        "id": who.id,
        "type": "message",
        "role": "assistant",
        "model": who.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def stop_reason(last: Piece) -> tuple[str, str | None]:
    """Anthropic's word for how an answer ended, and the stop sequence that ended it."""
    if last.matched is not None:
        return "stop_sequence", last.matched
    reasons = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
    return reasons[last.finish or "stop"], None


def anthropic_usage(usage: Usage) -> dict[str, int]:
    """Tokens read, found in the cache, and written; the three kinds of input add up to the prompt."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }


def _conversation(told: MessagesRequest) -> tuple[list[dict[str, Any]], list[str]]:
    """The same turns as OpenAI writes them, and where in the body each stands."""
    turns: list[dict[str, Any]] = []
    places: list[str] = []
    if told.system is not None:
        turns.append({"role": "system", "content": content_text(told.system, "system")})
        places.append("system")
    for number, message in enumerate(told.messages):
        where = f"messages[{number}]"
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant", "system") or set(message) - {"role", "content"}:
            raise refused(where, 'of the form {"role": "user", "assistant" or "system", "content"}')
        if isinstance(content, list) and role != "system":  # which is text alone
            turns += read_blocks(role, content, f"{where}.content")
        else:
            turns.append({"role": role, "content": content})
        places += [where] * (len(turns) - len(places))
    return turns, places


def _format(output: dict[str, Any] | None, limits: WireLimits) -> dict[str, Any]:
    """The rule that `output_config.format` sets."""
    for name, value in (output or {}).items():
        if name != "format" and value is not None:
            raise refused(f"output_config.{name}", "is not done here", code="unsupported_parameter")
    match (output or {}).get("format"):
        case None:
            return {}
        case {"type": "json_schema", "schema": dict() as schema}:
            wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
            return read_format(wanted, limits.rule_bytes, "output_config.format")
    raise refused("output_config.format", 'of type "json_schema" with a schema')


def _thinking(thinking: dict[str, Any] | None) -> tuple[dict[str, Any], int | None]:
    """What is said to the chat template of whether there is to be thought, and how many tokens may be."""
    if (thinking or {}).get("display") in (None, "summarized"):  # thoughts are told, here in full
        thinking = thinking and {name: value for name, value in thinking.items() if name != "display"}
    match thinking:
        case None:
            return {}, None
        case {"type": "disabled"} if len(thinking) == 1:
            return NO_THOUGHTS, None
        case {"type": "adaptive" | "enabled"} if len(thinking) == 1:
            return THOUGHTS, None
        case {"type": "enabled", "budget_tokens": budget} if len(thinking) == 2:
            tokens = as_whole(budget)
            if tokens is None or tokens < 1:
                raise refused("thinking.budget_tokens", "a number of tokens, 1 or more")
            return THOUGHTS, tokens
    known = 'of type "adaptive", "disabled" or "enabled", budget_tokens with that alone, display "summarized"'
    raise refused("thinking", known)


def _tool(tool: dict[str, Any], number: int) -> dict[str, Any]:
    match tool:
        case {"name": str() as name, "input_schema": dict() as schema} if (
            tool.get("type", "custom") == "custom"
        ):
            function: dict[str, Any] = {"name": name, "parameters": schema}
            if isinstance(tool.get("description"), str):
                function["description"] = tool["description"]
            if tool.get("strict") is True:
                function["strict"] = True
            return {"type": "function", "function": function}
    raise refused(f"tools[{number}]", 'of the form {"name", "description", "input_schema"}')


def _choice(choice: dict[str, Any] | None) -> tuple[str | dict[str, Any] | None, bool]:
    """The same choice as OpenAI writes it, and whether several functions may be called at once."""
    if choice is None:
        return None, True
    parallel = choice.get("disable_parallel_tool_use") is not True
    match choice:
        case {"type": "auto" | "none" as kind}:
            return kind, parallel
        case {"type": "any"}:
            return "required", parallel
        case {"type": "tool", "name": str() as name}:
            return {"type": "function", "function": {"name": name}}, parallel
    raise refused("tool_choice", 'of type "auto", "any", "tool" with a name, or "none"')


def _user(metadata: dict[str, Any] | None) -> str:
    match metadata:
        case None:
            return ""
        case {"user_id": str() as user} if len(metadata) == 1:
            return user
    raise refused("metadata", 'only {"user_id": TEXT} is known')
