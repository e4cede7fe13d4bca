"""Endpoints about tokens: counted, spelled, put together again; a conversation as its template writes it."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.ask import Ask
from llmkit.server.errors import refused
from llmkit.server.front import as_json, until_gone
from llmkit.server.handlers import State
from llmkit.server.served import Served
from llmkit.server.strict_json import decode
from llmkit.server.wire.messages import MessagesRequest, read_anthropic
from llmkit.server.wire.messages_in import read_messages, read_template_kwargs
from llmkit.server.wire.responses import ResponsesRequest, read_response
from llmkit.server.wire.tokenize import (
    MOST_TOKENS,
    DetokenizeRequest,
    TemplateRequest,
    TokenizeRequest,
    piece_of,
)
from llmkit.server.wire.tools import read_tools

T = TypeVar("T")


async def counted(request: Request, work: Callable[[], Awaitable[T]]) -> T:
    """What some work for a request gives. From its begin on the request counts against its key, as those for
    text do, of no tokens; one that is refused before does not, as none of those does.

    Raises:
        ApiError: 429: over a limit of the key; or see `until_gone`.
    """
    state: State = request.app.state.serve
    with state.gate.begin(request.state.caller):
        return await until_gone(request, work())


async def tokenize(request: Request) -> Response:
    """POST /tokenize."""
    state: State = request.app.state.serve
    body = decode(await request.body(), TokenizeRequest)
    body.check()
    served = state.models.find(body.model, request.state.caller)
    tenant = request.state.caller.tenant
    if body.messages is not None:
        chat = partial(
            served.prompts.encode_chat,
            read_messages(body.messages),
            tools=read_tools(body.tools),
            kwargs=read_template_kwargs(body.chat_template_kwargs),
            tenant=tenant,
        )
        ids, _ = await counted(request, chat)
    else:
        plain = partial(
            served.prompts.encode,
            body.text or "",
            special=body.adds_special,
            parse_special=body.parses_special,
            tenant=tenant,
        )
        ids = await counted(request, plain)
    answer: dict[str, Any] = {"count": len(ids), "max_model_len": served.context, "tokens": ids}
    if body.return_token_strs or body.with_pieces:
        pieces = [served.tokenizer.token_bytes(one) for one in ids]
        if body.return_token_strs:
            answer["token_strs"] = [one.decode(errors="replace") for one in pieces]
        if body.with_pieces:
            told = zip(ids, map(piece_of, pieces), strict=True)
            answer["tokens"] = [{"id": one, "piece": piece} for one, piece in told]
    return as_json(answer)


async def detokenize(request: Request) -> Response:
    """POST /detokenize."""
    state: State = request.app.state.serve
    body = decode(await request.body(), DetokenizeRequest)
    served = state.models.find(body.model, request.state.caller)
    if len(body.tokens) > MOST_TOKENS:
        raise refused("tokens", f"at most {MOST_TOKENS:,} (found {len(body.tokens):,})")
    known = served.tokenizer.vocab_size
    for wrong in (min(body.tokens, default=0), max(body.tokens, default=0)):
        if not 0 <= wrong < known:
            raise refused("tokens", f"{wrong} is not in the vocabulary of {known:,}")
    work = partial(served.prompts.decode, body.tokens, "tokens", tenant=request.state.caller.tenant)
    text = await counted(request, work)
    return as_json({"prompt": text, "content": text})


async def apply_template(request: Request) -> Response:
    """POST /apply-template."""
    state: State = request.app.state.serve
    body = decode(await request.body(), TemplateRequest)
    served = state.models.find(body.model, request.state.caller)
    kwargs = read_template_kwargs(body.chat_template_kwargs)
    work = partial(
        served.prompts.encode_chat,
        read_messages(body.messages),
        tools=read_tools(body.tools),
        kwargs=kwargs,
        tenant=request.state.caller.tenant,
    )
    _, text = await counted(request, work)
    return as_json({"prompt": text})


async def count_tokens(request: Request) -> Response:
    """POST /v1/messages/count_tokens: Anthropic's."""
    state: State = request.app.state.serve
    body = decode(await request.body(), MessagesRequest)
    served = state.models.find(body.model, request.state.caller)
    ask = read_anthropic(body, served.base, state.limits, functions=state.functions, counts=True)
    return as_json({"input_tokens": await _tokens_of(request, served, ask)})


async def count_input(request: Request) -> Response:
    """POST /v1/responses/input_tokens: OpenAI's, of all that a response would go on from."""
    state: State = request.app.state.serve
    body = decode(await request.body(), ResponsesRequest)
    served = state.models.find(body.model, request.state.caller)
    ask = read_response(
        body,
        served.base,
        state.limits,
        max_tokens=served.context,
        functions=state.functions,
        earlier=state.kept.conversation(request.state.caller.tenant, body.previous_response_id),
    )
    count = await _tokens_of(request, served, ask)
    return as_json({"object": "response.input_tokens", "input_tokens": count})


async def _tokens_of(request: Request, served: Served, ask: Ask) -> int:
    """Of a conversation as its template writes it."""
    work = partial(
        served.prompts.encode_chat,
        ask.messages,
        tools=ask.offered_tools,
        kwargs=ask.template_kwargs,
        prefill=ask.prefill,
        tenant=request.state.caller.tenant,
    )
    ids, _ = await counted(request, work)
    return len(ids)
