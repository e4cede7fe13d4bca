"""GET /props: a server as llama.cpp's clients ask about it."""

from starlette.requests import Request
from starlette.responses import Response

from llmkit.server.front import as_json
from llmkit.server.handlers import State
from llmkit.server.wire.props import DefaultSettings, Props, default_params
from llmkit.version import __version__


async def show_props(request: Request) -> Response:
    """GET /props, of the model that `?model=` names, or of the first."""
    state: State = request.app.state.serve
    served = state.models.find(request.query_params.get("model"), request.state.caller)
    tokenizer = served.tokenizer

    def spelled(token_id: int | None) -> str:
        return "" if token_id is None else tokenizer.token_text(token_id)

    props = Props(
        default_generation_settings=DefaultSettings(served.context, default_params(served.base)),
        total_slots=served.load().max_texts,
        model_alias=served.name,
        chat_template=tokenizer.chat_template or "",
        bos_token=spelled(tokenizer.bos_id),
        eos_token=spelled(tokenizer.eos_id),
        build_info=f"llmkit {__version__}",
    )
    return as_json(props)
