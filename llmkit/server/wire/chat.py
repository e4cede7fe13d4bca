"""`/v1/chat/completions`: OpenAI's endpoint for conversations.

Source: OpenAI's API reference, "Create chat completion", "The chat completion object", "The chat completion
chunk object"; DeepSeek's API reference, "Reasoning Model (deepseek-reasoner)".
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llmkit.engine.config import SamplingConfig
from llmkit.server.answer import Answered, ExecutedTool, Piece, TokenScore, ToolCall, Usage
from llmkit.server.ask import Ask, Passages
from llmkit.server.errors import refused
from llmkit.server.wire.completions import LEAST_LOGPROB
from llmkit.server.wire.messages_in import read_messages, read_template_kwargs, read_thinking_budget
from llmkit.server.wire.sampling import (
    SAYS_NOTHING,
    SamplingFields,
    WireLimits,
    check_answers,
    check_logprobs,
    read_alike,
    read_sampling,
    refuse_what_is_not_done,
    the_most_tokens,
)
from llmkit.server.wire.tools import read_offer
from llmkit.server.wire.usage import envelope, usage_object

HARMLESS: dict[str, tuple[Any, ...]] = SAYS_NOTHING | {
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "verbosity": ("medium",),
    "web_search_options": (),
    "prediction": (),
    "audio": (),
    "best_of": (1,),
}
"""Parameters that are not done here, with the values that ask for nothing."""


class ChatRequest(SamplingFields, kw_only=True, forbid_unknown_fields=True):
    """The body."""

    messages: list[dict[str, Any]]
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    thinking_token_budget: int | None = None
    """vLLM's."""
    retrieve: bool | None = None
    functions: Any = None
    function_call: Any = None
    modalities: Any = None
    verbosity: Any = None
    web_search_options: Any = None
    prediction: Any = None
    audio: Any = None
    best_of: Any = None


def read_chat(
    told: ChatRequest,
    base: SamplingConfig,
    limits: WireLimits,
    *,
    max_tokens: int,
    functions: tuple[dict[str, Any], ...] = (),
) -> Ask:
    """What a body asks for.

    Args:
        told: the body, decoded.
        base: settings that hold where it says nothing.
        limits: how much it may ask for.
        max_tokens: of a reply that says no number: as many as the context has.
        functions: that the server runs, for a request without tools of its own.

    Raises:
        ApiError: 400, naming the parameter that cannot be followed.
    """
    refuse_what_is_not_done(told, HARMLESS)
    told.max_tokens = the_most_tokens(told.max_tokens, told.max_completion_tokens)
    sampling = read_sampling(told, base, limits, max_tokens=max_tokens)
    check_answers(1, sampling.samples, limits, ("n",))
    sampling = replace(sampling, logprobs=_logprobs(told, limits))
    if sampling.logprobs is not None and told.max_tokens is None:  # as many as may have scores
        room = limits.scores // ((sampling.logprobs + 1) * sampling.samples)
        sampling = replace(sampling, max_tokens=min(sampling.max_tokens, room))
    offer = read_offer(told.tools, told.tool_choice, functions)
    return Ask(
        kind="chat",
        messages=read_messages(told.messages),
        tools=offer.tools,
        server_tools=offer.by_server,
        tool_choice=offer.choice,
        parallel_tool_calls=told.parallel_tool_calls is not False and offer.choice.name is None,
        passages=read_retrieve(told.retrieve),
        template_kwargs=read_template_kwargs(told.chat_template_kwargs, told.reasoning_effort),
        thinking_budget=read_thinking_budget(told.thinking_token_budget),
        **read_alike(told, sampling, limits),
    )


def chat_object(who: Answered, answers: Sequence[Sequence[Piece]], usage: Usage) -> dict[str, Any]:
    """The answer in one piece.

    Args:
        who: answers.
        answers: the pieces of each, in order.
        usage: of all together.
    """
    choices = []
    for index, pieces in enumerate(answers):
        text = "".join(piece.text for piece in pieces)
        calls = [call for piece in pieces for call in piece.calls]
        message = message_object(text, calls, "".join(piece.thought for piece in pieces))
        if executed := [one for piece in pieces for one in piece.executed]:
            message["executed_tools"] = [executed_object(one) for one in executed]
        if who.citations is not None:
            message["citations"] = who.citations
        scores = [score for piece in pieces for score in piece.scores]
        choices.append({"index": index, "message": message, **_ending(scores, pieces[-1])})
    return envelope(who, "chat.completion") | {"choices": choices, "usage": usage_object(usage)}


def message_object(text: str, calls: Sequence[ToolCall], thought: str = "") -> dict[str, Any]:
    """An assistant's message; where OpenAI tells no thoughts, in the words of DeepSeek's API."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if thought:
        message["reasoning_content"] = thought
    if calls:
        message["content"] = text or None
        message["tool_calls"] = [_call(call) for call in calls]
    return message


def chat_role_chunk(who: Answered, index: int) -> dict[str, Any]:
    """The event that opens an answer."""
    delta: dict[str, Any] = {"role": "assistant", "content": ""}
    if who.citations is not None:
        delta["citations"] = who.citations
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
    return envelope(who, "chat.completion.chunk") | {"choices": [choice]}


def chat_chunk(who: Answered, piece: Piece, usage: Usage | None) -> dict[str, Any]:
    """A piece of the answer, as an event.

    Args:
        who: answers.
        piece: what is new.
        usage: so far, where each event tells it.
    """
    delta: dict[str, Any] = {}
    if piece.thought:
        delta["reasoning_content"] = piece.thought
    if piece.text:
        delta["content"] = piece.text
    if piece.calls:
        delta["tool_calls"] = [{"index": call.index, **_call(call)} for call in piece.calls]
    if piece.executed:
        delta["executed_tools"] = [executed_object(one) for one in piece.executed]
    choice = {"index": piece.index, "delta": delta, **_ending(piece.scores, piece)}
    chunk = envelope(who, "chat.completion.chunk") | {"choices": [choice]}
    return chunk if usage is None else chunk | {"usage": usage_object(usage)}


def chat_usage_chunk(who: Answered, usage: Usage) -> dict[str, Any]:
    """The event that says how many tokens there were."""
    return envelope(who, "chat.completion.chunk") | {"choices": [], "usage": usage_object(usage)}


def executed_object(one: ExecutedTool) -> dict[str, Any]:
    """A function that the server called; where OpenAI has nothing, in the words of Groq's API reference."""
    return {
        "index": one.index,
        "type": "function",
        "id": one.id,
        "name": one.name,
        "arguments": one.arguments,
        "output": one.output,
        "is_error": one.failed,
    }


def read_retrieve(told: bool | None) -> Passages:
    """Whether passages are put before the question: as the server does it, unless that is said."""
    return "on" if told is None else "required" if told else "off"


def _logprobs(told: ChatRequest, limits: WireLimits) -> int | None:
    if told.logprobs:
        return check_logprobs("top_logprobs", told.top_logprobs or 0, limits)
    if told.top_logprobs:
        raise refused("top_logprobs", "needs logprobs: true")
    return None


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _ending(scores: Sequence[TokenScore], last: Piece) -> dict[str, Any]:
    """What follows a message or a delta in its choice."""
    return {
        "logprobs": score_content(scores) if scores else None,
        "finish_reason": last.finish,
        "stop_reason": last.matched,
    }


def score_content(scores: Sequence[TokenScore]) -> dict[str, Any]:
    """Log probabilities as this endpoint has them: an object for each token."""
    content = [_spelled(score) | {"top_logprobs": [_spelled(one) for one in score.top]} for score in scores]
    return {"content": content, "refusal": None}


def _spelled(score: TokenScore) -> dict[str, Any]:
    logprob = LEAST_LOGPROB if score.logprob is None else max(score.logprob, LEAST_LOGPROB)
    return {"token": score.text, "logprob": logprob, "bytes": list(score.content)}
