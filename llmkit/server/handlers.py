"""One coroutine per text endpoint: the body read, the model asked, the answer told.

decode -> find the model -> Ask -> begin -> prepare -> a place -> pieces -> the endpoint's words
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from llmkit.engine.request import Request as EngineRequest
from llmkit.retrieve.passage_prompt import Citation
from llmkit.server.answer import Answered, Piece, Usage
from llmkit.server.anthropic_stream import AnthropicStream
from llmkit.server.ask import Ask
from llmkit.server.errors import refused
from llmkit.server.front import HeldStream, as_json, until_gone
from llmkit.server.gate import Caller, Gate, Sizes, Slot
from llmkit.server.handoff import slot_comment, slot_headers
from llmkit.server.kept_responses import KeptResponses, keeps_nothing
from llmkit.server.left_answers import LeftAnswers
from llmkit.server.lines import by_lines
from llmkit.server.lora import scales_of
from llmkit.server.metrics import Metrics
from llmkit.server.models import Models
from llmkit.server.replies import Reply, first_token
from llmkit.server.responses_stream import ResponsesStream
from llmkit.server.retrieval import Retrieval
from llmkit.server.served import Prepared, Served
from llmkit.server.stream import ChatStream, CompletionStream, Dialect, together, told
from llmkit.server.strict_json import decode
from llmkit.server.tool_bench import ToolBench
from llmkit.server.tool_rounds import ToolRounds
from llmkit.server.wire.chat import ChatRequest, chat_object, read_chat
from llmkit.server.wire.completions import CompletionRequest, completion_object, read_completion
from llmkit.server.wire.input_items import as_items
from llmkit.server.wire.lora import name_with
from llmkit.server.wire.messages import MessagesRequest, message_object, read_anthropic
from llmkit.server.wire.responses import ResponsesRequest, read_response, response_object
from llmkit.server.wire.sampling import WireLimits, check_scores


@dataclass
class State:
    """What the handlers share."""

    models: Models
    gate: Gate
    limits: WireLimits
    metrics: Metrics
    draining: bool = False
    """Whether new requests are refused, because the server is about to end."""
    in_flight: int = 0
    """Requests under way."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when their time is over."""
    log_prompts: bool = False
    """Whether the log has what was said."""
    behind_router: bool = False
    """Whether a router asks, which wants to know what each answer took."""
    bench: ToolBench | None = None
    """Runs the server's own tools; None: it has none."""
    retrieval: Retrieval | None = None
    """Finds passages; None: there is no index."""
    left: LeftAnswers = field(default_factory=LeftAnswers)
    """What answers took that a router has given up."""
    kept: KeptResponses = field(default_factory=KeptResponses)
    """Responses that clients go on from; behind a router, which has them, none."""

    @property
    def functions(self) -> tuple[dict[str, Any], ...]:
        """What models may call of the server's own."""
        return () if self.bench is None else self.bench.functions


@dataclass(frozen=True)
class Endpoint:
    """How an endpoint tells an answer."""

    prefix: str
    """Of its ids."""
    whole: Callable[[Answered, Sequence[Sequence[Piece]], Usage], dict[str, Any]]
    stream: Callable[[Answered, Ask], Dialect]


COMPLETIONS = Endpoint("cmpl-", completion_object, CompletionStream)
CHAT = Endpoint("chatcmpl-", chat_object, ChatStream)
MESSAGES = Endpoint("msg_", message_object, AnthropicStream)


async def completions(request: Request) -> Response:
    """POST /v1/completions."""
    state: State = request.app.state.serve
    body = decode(await request.body(), CompletionRequest)
    served = state.models.find(body.model, request.state.caller)
    ask = read_completion(body, served.base, state.limits)
    return await respond(request, ask, served, COMPLETIONS)


async def chat(request: Request) -> Response:
    """POST /v1/chat/completions."""
    state: State = request.app.state.serve
    body = decode(await request.body(), ChatRequest)
    served = state.models.find(body.model, request.state.caller)
    most = served.context
    ask = read_chat(body, served.base, state.limits, max_tokens=most, functions=state.functions)
    return await respond(request, ask, served, CHAT)


async def responses(request: Request) -> Response:
    """POST /v1/responses."""
    state: State = request.app.state.serve
    body = decode(await request.body(), ResponsesRequest)
    served = state.models.find(body.model, request.state.caller)
    if body.store and not state.kept.keeps:
        raise keeps_nothing()
    tenant = request.state.caller.tenant
    ask = read_response(
        body,
        served.base,
        state.limits,
        max_tokens=served.context,
        functions=state.functions,
        earlier=state.kept.conversation(tenant, body.previous_response_id),
        keeps=state.kept.keeps,
    )

    def kept(response: dict[str, Any]) -> dict[str, Any]:
        if response["store"]:
            own = as_items(body.input, response["id"])
            state.kept.keep(tenant, response, own, body.previous_response_id)
        return response

    def whole(who: Answered, answers: Sequence[Sequence[Piece]], usage: Usage) -> dict[str, Any]:
        return kept(response_object(who, answers, usage))

    endpoint = Endpoint("resp_", whole, partial(ResponsesStream, keep=kept))
    return await respond(request, ask, served, endpoint)


async def messages(request: Request) -> Response:
    """POST /v1/messages."""
    state: State = request.app.state.serve
    body = decode(await request.body(), MessagesRequest)
    served = state.models.find(body.model, request.state.caller)
    ask = read_anthropic(body, served.base, state.limits, functions=state.functions)
    return await respond(request, ask, served, MESSAGES)


async def respond(request: Request, ask: Ask, served: Served, endpoint: Endpoint) -> Response:
    """Have a request answered, in one piece or as a stream.

    A client that leaves ends its texts before the engine's next pass.

    Raises:
        ApiError: it cannot be answered, or not now.
    """
    state: State = request.app.state.serve
    caller: Caller = request.state.caller
    began = time.monotonic()
    name = request.state.model = served.name if ask.adapter is None else f"{served.name}:{ask.adapter}"
    request.state.user = ask.user
    if state.log_prompts:
        request.state.prompt = ask.messages or ask.texts or ask.ids
    stack = AsyncExitStack()
    scales = scales_of(state.models, served, caller, ask.adapter, ask.lora)
    if ask.lora is not None:
        name = request.state.model = name_with(served.name, scales)
    request.state.lora = scales
    fingerprint = served.adapters.marked(served.fingerprint, ask.adapter, scales)
    citations = None
    try:
        least = Sizes(
            prompt_tokens=sum(map(len, ask.ids)) or ask.num_prompts,
            max_tokens=ask.num_answers,
            answers=ask.num_answers,
            samples=ask.sampling.samples,
        )
        stack.enter_context(state.gate.begin(caller, least))
        called = await stack.enter_async_context(served.adapters.used(ask.adapter, scales))
        if called is not None:
            ask = replace(ask, model=f"{served.name}:{called}")
        if ask.passages != "off":
            ask, citations = await until_gone(request, _with_passages(state.retrieval, ask))
        prepared = await until_gone(request, served.prepare(ask, caller))
        _check_scores(ask, prepared, state.limits)
        answers, samples = len(prepared.requests), ask.sampling.samples
        sizes = Sizes(prepared.prompt_tokens, prepared.max_tokens, answers=answers, samples=samples)
        place = state.gate.enter(caller, sizes, model=name)
        slot = await until_gone(request, stack.enter_async_context(place))
    except BaseException:
        await stack.aclose()
        raise
    own_id, created = f"{endpoint.prefix}{secrets.token_hex(12)}", int(time.time())
    who = Answered(own_id, created, name, fingerprint, citations, ask.sampling, ask.echoed)
    slot.answers = answers
    request.state.slot = slot

    def write(index: int, one: EngineRequest, asked: Prepared) -> AsyncGenerator[Piece]:
        return _answer(index, one, asked, served, slot, began)

    if ask.server_tools and state.bench is not None:
        rounds = ToolRounds(prepared, served, state.bench, caller, slot, write)
        texts = [rounds.answer(index, one) for index, one in enumerate(prepared.requests)]
    else:
        texts = [write(index, one, prepared) for index, one in enumerate(prepared.requests)]
    slot.usage.prompt_tokens = prepared.prompt_tokens
    if ask.stream:
        events = told(endpoint.stream(who, ask), together(texts, state.over), slot)
        events = _events(stack, events, slot if state.behind_router else None)
        return HeldStream(events, stack)
    async with stack:
        with state.left.noted(request.state.request_id, slot):
            pieces = await until_gone(request, _gather(texts))
    took = slot_headers(slot, behind_router=state.behind_router)
    return as_json(endpoint.whole(who, pieces, slot.usage), headers=took)


def _check_scores(ask: Ask, prepared: Prepared, limits: WireLimits) -> None:
    """Refuse more scores than a request may ask for, those of its prompts too where they come out.

    Raises:
        ApiError: 400.
    """
    if (count := ask.sampling.logprobs) is None:
        return
    scored = sum(len(one.prompt) for one in prepared.requests if one.scores_prompt is not None)
    name = "top_logprobs" if ask.kind == "chat" and count else ask.names.get("logprobs", "logprobs")
    check_scores(name, count, prepared.max_tokens + scored, limits)


async def _with_passages(retrieval: Retrieval | None, ask: Ask) -> tuple[Ask, tuple[Citation, ...] | None]:
    """A request with the passages of the server's index, if it has one."""
    if retrieval is not None:
        return await retrieval.before(ask)
    if ask.passages == "required":
        raise refused("retrieve", "there is no index here")
    return ask, None


async def _answer(
    index: int, one: EngineRequest, prepared: Prepared, served: Served, slot: Slot, began: float
) -> AsyncGenerator[Piece]:
    """One of the answers; what it takes goes into the slot."""
    ask = prepared.ask
    has_scores = one.scores_prompt is not None and one.sampling.logprobs is not None
    first = first_token(one.prompt[0], served.tokenizer) if has_scores else None
    echo = prepared.prompts[index] if ask.echo else ""
    is_first = index % ask.sampling.samples == 0  # of its prompt, which is counted once
    if ask.score_only and (first is None or len(one.prompt) == 1):  # nothing is to be computed
        slot.first_token_seconds, slot.finished = time.monotonic() - began, "length"
        yield Piece(index, echo, scores=() if first is None else (first,), finish="length")
        return
    reply = Reply(
        index,
        served.tokenizer,
        with_scores=ask.sampling.logprobs is not None,
        prefill=echo,
        first=first,
        reader=served.reader(prepared),
        one_call=not ask.parallel_tool_calls,
    )
    pieces = served.write(one, reply, ask)
    async for piece in pieces if ask.lines is None else by_lines(pieces, ask.lines):
        if slot.first_token_seconds is None:
            slot.first_token_seconds = time.monotonic() - began
        slot.usage.completion_tokens += piece.drawn
        slot.usage.reasoning_tokens += piece.drawn * piece.thinking
        slot.usage.cached_tokens += piece.cached if is_first else 0
        if piece.finish is not None:
            slot.finished = piece.finish
        yield piece


async def _gather(answers: Sequence[AsyncGenerator[Piece]]) -> list[list[Piece]]:
    """All pieces of each answer."""
    found: list[list[Piece]] = [[] for _ in answers]
    async for piece in together(answers):
        found[piece.index].append(piece)
    return found


async def _events(
    stack: AsyncExitStack, events: AsyncGenerator[bytes], slot: Slot | None
) -> AsyncGenerator[bytes]:
    """Events, each with what was taken so far where a slot is given; the place is given back at the end."""
    async with stack:
        try:
            async for one in events:
                yield one if slot is None else one + slot_comment(slot)
        finally:
            await events.aclose()
