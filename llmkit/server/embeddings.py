"""POST /v1/embeddings: a text's vector is made of its tokens' last hidden states, of length 1.

It is that of `llmkit retrieve`, as the model's files say; where they say nothing, the mean, of which what
stands before every text is no part. What stands before queries is the client's to write. A shorter one is the
first numbers of it, of length 1 again, as sentence-transformers' `truncate_dim` has it.
"""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from llmkit.errors import DataError
from llmkit.retrieve.embed import unit_vectors
from llmkit.server.errors import ApiError, refused
from llmkit.server.front import as_json, until_gone
from llmkit.server.gate import Caller, Sizes
from llmkit.server.handlers import State
from llmkit.server.handoff import slot_headers
from llmkit.server.served import Served
from llmkit.server.strict_json import decode
from llmkit.server.wire.embeddings import EmbeddingAsk, EmbeddingRequest, embedding_object, read_embedding


async def embeddings(request: Request) -> Response:
    """POST /v1/embeddings."""
    state: State = request.app.state.serve
    caller: Caller = request.state.caller
    began = time.monotonic()
    body = decode(await request.body(), EmbeddingRequest)
    served = state.models.find(body.model, caller)
    ask = read_embedding(body, served.config.hidden_size)
    request.state.model = served.name
    if state.log_prompts:
        request.state.prompt = body.input
    least = sum(map(len, ask.ids)) or len(ask.texts)

    async def work() -> Response:
        rows = await _encode(ask, served, caller)
        skipped = [_skipped(row, served) for row in rows]
        tokens = sum(len(row) for row in rows)
        sizes = Sizes(prompt_tokens=tokens, answers=1)
        async with state.gate.enter(caller, sizes, model=served.name) as slot:
            request.state.slot = slot
            slot.usage.prompt_tokens = tokens
            vectors = await _vectors(served, rows, skipped, ask.dimensions)
            slot.first_token_seconds, slot.finished = time.monotonic() - began, "stop"
        took = slot_headers(slot, behind_router=state.behind_router)
        return as_json(embedding_object(served.name, vectors, slot.usage, ask.encoding), headers=took)

    with state.gate.begin(caller, Sizes(prompt_tokens=least, answers=1)):
        return await until_gone(request, work())


async def _encode(ask: EmbeddingAsk, served: Served, caller: Caller) -> Sequence[Sequence[int]]:
    """Token ids of each text.

    Raises:
        ApiError: 400: a text without tokens, or with more than the context; an id that there is not.
    """
    rows: Sequence[Sequence[int]] = ask.ids
    if ask.texts:
        whole = served.pooling.is_told
        rows = await served.prompts.encode_all(ask.texts, whole=whole, param="input", tenant=caller.tenant)
    for row in rows:
        wrong = next((one for one in row if not 0 <= one < served.config.vocab_size), None)
        if wrong is not None:
            raise refused("input", f"{wrong} is not in the vocabulary of {served.config.vocab_size:,}")
        if len(row) > (room := served.pooling.room(served.context)):
            raise refused(
                "input",
                f"{len(row):,} tokens, and the context has {room:,}",
                code="context_length_exceeded",
            )
    return rows


def _skipped(row: Sequence[int], served: Served) -> int:
    """Tokens at a text's beginning that do not count in its vector.

    Raises:
        ApiError: 400: nothing is left.
    """
    before = served.before_texts
    has_it = list(row[: len(before)]) == before
    skipped = served.pooling.skipped(len(row), len(before) if has_it else 0)
    if skipped == len(row):
        raise refused("input", "a text has no token of its own")
    return skipped


async def _vectors(
    served: Served, rows: Sequence[Sequence[int]], skipped: Sequence[int], dimensions: int
) -> NDArray[np.float32]:
    try:
        return unit_vectors((await served.thread.hidden_sums(rows, skipped))[:, :dimensions])
    except DataError as error:
        raise ApiError(500, error.problem, code="model_failed") from None
