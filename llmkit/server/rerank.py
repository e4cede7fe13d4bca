"""POST /v1/rerank: documents by how well they answer a query, as a model judges that was made for it.

Each pair is a prompt like any other: it has its turn among the texts that are written, and its beginning is
found in the cache. No token of an answer counts, only the scores of those that mean yes and no, as with
`llmkit retrieve --rerank`. A document that the model cannot read to its end is judged by its beginning,
and so is one of more tokens than Cohere's `max_tokens_per_doc`.
"""

import secrets
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Request as EngineRequest
from llmkit.errors import DataError, LlmkitError
from llmkit.model.relevance import HALF_CHARACTER, Relevance
from llmkit.server.each import each
from llmkit.server.errors import ApiError, as_api_error, refused
from llmkit.server.front import as_json, until_gone
from llmkit.server.gate import Caller, Sizes, Slot
from llmkit.server.handlers import State
from llmkit.server.handoff import slot_headers
from llmkit.server.lora import scales_of
from llmkit.server.served import Served
from llmkit.server.strict_json import decode
from llmkit.server.wire.rerank import RerankAsk, RerankRequest, read_rerank, rerank_object

_JUDGING = SamplingConfig(max_tokens=1, temperature=0.0)
"""A pair has settings of sampling, though nothing of what is drawn counts."""
_BESIDE_BYTES = 1024
"""Of what stands beside the texts of a pair where they are encoded, and more."""


async def rerank(request: Request) -> Response:
    """POST /v1/rerank."""
    state: State = request.app.state.serve
    caller: Caller = request.state.caller
    began = time.monotonic()
    body = decode(await request.body(), RerankRequest)
    served = state.models.find(body.model, caller)
    ask = read_rerank(body)
    relevance = _relevance_of(served)
    request.state.model = name = served.name if ask.adapter is None else f"{served.name}:{ask.adapter}"
    request.state.user = body.user or ""
    if state.log_prompts:
        request.state.prompt = [body.query, *ask.documents]
    answers = min(len(ask.documents), state.limits.answers)

    async def work(adapter: str | None) -> Response:
        rows = await _encode(ask, relevance, served, caller)
        tokens = sum(map(len, rows))
        asked = EngineRequest(
            (0,),
            _JUDGING,
            priority=max(body.priority or 0, caller.lowest_priority),
            key=caller.tenant,
            salt=body.cache_salt or "",
            adapter=adapter,
            logits_of=relevance.tokens,
        )
        sizes = Sizes(prompt_tokens=tokens, answers=answers)
        async with state.gate.enter(caller, sizes, model=name) as slot:
            request.state.slot = slot
            slot.usage.prompt_tokens, slot.answers = tokens, answers
            requests = [replace(asked, prompt=tuple(row)) for row in rows]
            logits = await each(partial(_judge, served, slot, began), requests, at_once=answers)
            slot.finished = "stop"
        scores = list(map(relevance.score, logits))
        best = sorted(range(len(scores)), key=lambda place: -scores[place])[: ask.most]
        ranked = [(place, relevance.told(scores[place])) for place in best]
        told = rerank_object(f"rerank-{secrets.token_hex(12)}", name, ranked, body, slot.usage)
        return as_json(told, headers=slot_headers(slot, behind_router=state.behind_router))

    least = Sizes(prompt_tokens=len(ask.documents), answers=answers)
    scales = scales_of(state.models, served, caller, ask.adapter, None)
    with state.gate.begin(caller, least):
        async with served.adapters.used(ask.adapter, scales) as adapter:
            return await until_gone(request, work(adapter))


def _relevance_of(served: Served) -> Relevance:
    if served.relevance is None:
        problem = "this one was not made to judge documents, as Qwen3-Reranker was (modules.json: LogitScore)"
        raise refused("model", problem, code="unsupported_model")
    return served.relevance


async def _encode(
    ask: RerankAsk, relevance: Relevance, served: Served, caller: Caller
) -> Sequence[Sequence[int]]:
    """Token ids of each pair.

    Raises:
        ApiError: 400: see `_pair`.
    """
    pair = partial(_pair, ask=ask, relevance=relevance, served=served, tenant=caller.tenant)
    return await served.prompts.each(pair, ask.documents)


async def _pair(
    text: str, *, ask: RerankAsk, relevance: Relevance, served: Served, tenant: str
) -> Sequence[int]:
    """Token ids of a pair; a document that does not fit is cut at its end.

    Raises:
        ApiError: 400: the query leaves no room for it, or the chat template has no place for both texts.
    """
    room, prompts = relevance.room(served.context), served.prompts
    beside = sum(len(one.encode("utf-8", "surrogatepass")) for one in (ask.query, relevance.system))
    text = _within(text, prompts.most_bytes - beside - _BESIDE_BYTES)
    if ask.longest is not None:
        known = await _ids(text, served, tenant)
        if len(known) > ask.longest:
            text = await _text(known[: ask.longest], served, tenant)
    while True:
        ids, rendered = await prompts.encode_chat(
            tuple(relevance.messages(ask.query, text)),
            kwargs=relevance.rendering,
            param="documents",
            tenant=tenant,
        )
        if not relevance.has_both(rendered, ask.query, text):
            raise refused("model", "its chat template has no place for a query and a document")
        if len(ids) <= room:
            return ids
        known = await _ids(text, served, tenant)
        text = await _text(known[: room - len(ids)], served, tenant)
        if not text:
            raise refused(
                "query",
                f"leaves no room for a document in the {room:,} tokens that the model judges",
                code="context_length_exceeded",
            )


async def _ids(text: str, served: Served, tenant: str) -> list[int]:
    return await served.prompts.encode(text, special=False, param="documents", tenant=tenant)


async def _text(ids: list[int], served: Served, tenant: str) -> str:
    """The text of a document's first tokens, without the half of a character at its end."""
    return (await served.prompts.decode(ids, "documents", tenant=tenant)).rstrip(HALF_CHARACTER)


def _within(text: str, room: int) -> str:
    """The beginning of a text that has so many bytes at most: more of it is not encoded."""
    while text and (size := len(text.encode("utf-8", "surrogatepass"))) > room:
        text = text[: len(text) * max(0, room) // size]
    return text


async def _judge(served: Served, slot: Slot, began: float, pair: EngineRequest) -> tuple[float, ...]:
    """The model's scores of the tokens that count, behind a pair.

    Raises:
        ApiError: the engine could not.
    """
    try:
        async with aclosing(served.thread.stream(pair)) as pieces:
            piece = await anext(pieces)
    except LlmkitError as error:
        if isinstance(error, DataError):  # the model's: all ids are its tokenizer's
            raise ApiError(500, error.problem, code="model_failed") from None
        raise as_api_error(error, "documents") from None
    if slot.first_token_seconds is None:
        slot.first_token_seconds = time.monotonic() - began
    slot.usage.cached_tokens += piece.cached
    assert piece.token is not None
    return piece.token.logits
