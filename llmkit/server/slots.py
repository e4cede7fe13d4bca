"""`/slots`: what an engine writes at this moment, in llama.cpp's words."""

from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.errors import no_slot
from llmkit.server.front import as_json
from llmkit.server.gate import Caller
from llmkit.server.models import Models
from llmkit.server.wire.slots import text_slot


async def show_slots(request: Request) -> Response:
    """GET /slots, of the model that `?model=` names, or of the first.

    It tells of every key's texts: where there are keys it takes an admin's.

    Raises:
        ApiError: 403; with `?fail_on_no_slot=1` 503: no place is free.
    """
    caller: Caller = request.state.caller
    caller.check_admin()
    models: Models = request.app.state.serve.models
    served = models.find(request.query_params.get("model"), caller)
    texts, most = served.thread.texts(), served.load().max_texts
    if request.query_params.get("fail_on_no_slot") and len(texts) >= most:
        raise no_slot()
    speculative = served.thread.guesses
    return as_json(
        [
            text_slot(place, texts.get(place), context=served.context, speculative=speculative)
            for place in range(most)
        ]
    )
