"""Endpoints about tokens: counted, spelled, put together again; a conversation as its template writes it."""

from functools import wraps
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.ask import Ask
from llmkit.server.errors import refused
from llmkit.server.front import Handler, as_json, until_gone
from llmkit.server.handlers import State
from llmkit.server.strict_json import decode
from llmkit.server.wire.messages import MessagesRequest, read_anthropic
from llmkit.server.wire.messages_in import read_messages, read_template_kwargs
from llmkit.server.wire.tokenize import MOST_TOKENS, DetokenizeRequest, TemplateRequest, TokenizeRequest
from llmkit.server.wire.tools import read_tools


def counted(handler: Handler) -> Handler:
    """A handler whose requests count against their key, as those for text do; of no tokens."""

    @wraps(handler)
    async def answer(request: Request) -> Response:
        state: State = request.app.state.serve
        await request.body()  # a slow one is not under way yet
        with state.gate.begin(request.state.caller):
            return await handler(request)

    return answer


@counted
async def tokenize(request: Request) -> Response:
    """POST /tokenize."""
    state: State = request.app.state.serve
    body = decode(await request.body(), TokenizeRequest)
    body.check()
    served = state.models.find(body.model, request.state.caller)
    if body.messages is not None:
        work = served.prompts.encode_chat(
            read_messages(body.messages),
            tools=read_tools(body.tools),
            kwargs=read_template_kwargs(body.chat_template_kwargs),
            tenant=request.state.caller.tenant,
        )
        ids, _ = await until_gone(request, work)
    else:
        plain = served.prompts.encode(
            body.text or "", special=body.adds_special, tenant=request.state.caller.tenant
        )
        ids = await until_gone(request, plain)
    answer: dict[str, Any] = {"count": len(ids), "max_model_len": served.context, "tokens": ids}
    if body.return_token_strs or body.with_pieces:
        pieces = [served.tokenizer.token_bytes(one).decode(errors="replace") for one in ids]
        if body.return_token_strs:
            answer["token_strs"] = pieces
        if body.with_pieces:
            answer["tokens"] = [{"id": one, "piece": piece} for one, piece in zip(ids, pieces, strict=True)]
    return as_json(answer)


@counted
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
    text = await until_gone(
        request, served.prompts.decode(body.tokens, "tokens", tenant=request.state.caller.tenant)
    )
    return as_json({"prompt": text, "content": text})


@counted
async def apply_template(request: Request) -> Response:
    """POST /apply-template."""
    state: State = request.app.state.serve
    body = decode(await request.body(), TemplateRequest)
    served = state.models.find(body.model, request.state.caller)
    kwargs = read_template_kwargs(body.chat_template_kwargs)
    work = served.prompts.encode_chat(
        read_messages(body.messages),
        tools=read_tools(body.tools),
        kwargs=kwargs,
        tenant=request.state.caller.tenant,
    )
    _, text = await until_gone(request, work)
    return as_json({"prompt": text})


@counted
async def count_tokens(request: Request) -> Response:
    """POST /v1/messages/count_tokens: Anthropic's."""
    state: State = request.app.state.serve
    body = decode(await request.body(), MessagesRequest)
    served = state.models.find(body.model, request.state.caller)
    ask: Ask = read_anthropic(body, served.base, state.limits, functions=state.functions, counts=True)
    work = served.prompts.encode_chat(
        ask.messages,
        tools=ask.offered_tools,
        kwargs=ask.template_kwargs,
        prefill=ask.prefill,
        tenant=request.state.caller.tenant,
    )
    ids, _ = await until_gone(request, work)
    return as_json({"input_tokens": len(ids)})
