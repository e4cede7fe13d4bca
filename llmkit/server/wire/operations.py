"""The routes of a server, as its document has them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from llmkit.server.wire import openapi_answers as answers
from llmkit.server.wire.chat import ChatRequest
from llmkit.server.wire.completions import CompletionRequest
from llmkit.server.wire.embeddings import EmbeddingRequest
from llmkit.server.wire.infill import InfillRequest
from llmkit.server.wire.input_items import MOST_LISTED, DeletedResponse, InputItems, InputTokens
from llmkit.server.wire.json_schema import TEXT, Schema, integer, one_of
from llmkit.server.wire.llama import LlamaRequest
from llmkit.server.wire.lora import LORA_SCALE, LoraAdapter, LoraScale, ScalesSet
from llmkit.server.wire.messages import MessagesRequest
from llmkit.server.wire.openapi_sampling import Facts
from llmkit.server.wire.props import Props
from llmkit.server.wire.rerank import RERANK, RerankRequest
from llmkit.server.wire.responses import ResponsesRequest
from llmkit.server.wire.slots import TextSlot
from llmkit.server.wire.tokenize import (
    Detokenized,
    DetokenizeRequest,
    Rendered,
    TemplateRequest,
    TokenizeRequest,
    Tokens,
)

JSON = "application/json"
PLACE = re.compile(r"{(?P<name>\w+)(?::\w+)?}")
"""Of a name, in a path."""
_OF_BODIES = (400, 403, 404, 408, 413, 503)
_COUNTED = (*_OF_BODIES, 429)
_CHARGED = (*_COUNTED, 500)


@dataclass(frozen=True)
class Operation:
    """A route, as its document has it."""

    method: str
    path: str
    """As its application has it: a place for a name may say what kind of name."""
    summary: str
    body: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | None = None
    """Of the JSON that is answered; None: it is not described."""
    media: str = JSON
    streams: bool = False
    """Whether events may be asked for in its place."""
    refusals: Sequence[int] = ()
    """Statuses of errors; 401 and 403 are each one's that needs a key."""
    query: Mapping[str, Schema] = field(default_factory=dict, hash=False)
    """Parameters that its address takes."""
    lists: bool = False
    """Whether the body, or where there is none the answer, is a list of such."""
    is_open: bool = False
    """Whether it needs no key, whatever the server's keys."""
    counts: bool = False
    """Whether the body's tokens are only counted."""
    narrowed: Callable[[Facts], Mapping[str, Schema]] | None = None
    """Schemas of the body's fields that its struct does not have; None: those of `openapi_bodies`."""

    @property
    def documented_path(self) -> str:
        """Its path in the document's words."""
        return PLACE.sub(r"{\g<name>}", self.path)

    @property
    def body_name(self) -> str | None:
        """What the document calls its body's schema."""
        if self.body is None:
            return None
        return f"Counted{self.body.__name__}" if self.counts else self.body.__name__


def _text(path: str, summary: str, body: type[msgspec.Struct], answer: type[msgspec.Struct]) -> Operation:
    return Operation("POST", path, summary, body, answer, streams=True, refusals=_CHARGED)


def _tool(path: str, summary: str, body: type[msgspec.Struct], answer: type[msgspec.Struct]) -> Operation:
    return Operation("POST", path, summary, body, answer, refusals=_COUNTED)


def _ranking(path: str) -> Operation:
    told = (RerankRequest, answers.Ranking)
    return Operation("POST", path, "Documents by how well they answer", *told, refusals=_CHARGED)


_PAGE = {"after": TEXT, "limit": integer(minimum=1, maximum=MOST_LISTED), "order": one_of("asc", "desc")}


def _kept(method: str, of_it: str, summary: str, answer: type[msgspec.Struct], **query: Schema) -> Operation:
    path = f"/v1/responses/{{response_id:response}}{of_it}"
    return Operation(method, path, summary, None, answer, refusals=(400, 404), query=query)


OPERATIONS = (
    Operation("GET", "/health", "Whether every engine lives", None, answers.Status, is_open=True),
    Operation("GET", "/ready", "Whether a request would be taken in", None, answers.Status, is_open=True),
    Operation("GET", "/metrics", "Figures for Prometheus", media="text/plain", refusals=(403,)),
    Operation("GET", "/load", "What each engine is busy with now", None, answers.LoadList),
    Operation("GET", "/openapi.json", "This document"),
    Operation(
        *("GET", "/props", "What llama.cpp's clients ask about a server"),
        *(None, Props),
        refusals=(404,),
        query={"model": TEXT},
    ),
    Operation(
        *("GET", "/slots", "Texts at work, as llama.cpp tells of them"),
        *(None, TextSlot),
        refusals=(404, 503),
        query={"model": TEXT, "fail_on_no_slot": TEXT},
        lists=True,
    ),
    Operation(
        *("GET", "/lora-adapters", "Adapters, as llama.cpp lists them"),
        *(None, LoraAdapter),
        refusals=(404,),
        query={"model": TEXT},
        lists=True,
    ),
    Operation(
        *("POST", "/lora-adapters", "At which scales adapters change the base"),
        *(LoraScale, ScalesSet),
        refusals=_COUNTED,
        query={"model": TEXT},
        lists=True,
        narrowed=lambda facts: LORA_SCALE,
    ),
    Operation("GET", "/v1/models", "Models that this caller may ask", None, answers.ModelList),
    Operation("GET", "/v1/models/{name:path}", "One model", None, answers.ModelCard, refusals=(403, 404)),
    _text("/v1/completions", "Go on with a text", CompletionRequest, answers.Completion),
    _text("/v1/chat/completions", "Reply in a conversation", ChatRequest, answers.ChatCompletion),
    _text("/v1/responses", "Reply, by OpenAI's newer endpoint", ResponsesRequest, answers.ResponseAnswer),
    Operation(
        *("POST", "/v1/responses/input_tokens", "Tokens that a response would read"),
        *(ResponsesRequest, InputTokens),
        refusals=_COUNTED,
        counts=True,
    ),
    _kept("GET", "", "A response that was kept", answers.ResponseAnswer),
    _kept("DELETE", "", "Keep a response no longer", DeletedResponse),
    _kept("GET", "/input_items", "What a response was asked", InputItems, **_PAGE),
    Operation(
        *("POST", "/v1/embeddings", "Texts as vectors"),
        *(EmbeddingRequest, answers.EmbeddingList),
        refusals=_CHARGED,
    ),
    *(_ranking(path) for path in RERANK),
    _text("/completion", "Go on with a text, by llama.cpp's endpoint", LlamaRequest, answers.LlamaAnswer),
    _text("/infill", "Fill a gap, by llama.cpp's endpoint", InfillRequest, answers.LlamaAnswer),
    _text("/v1/messages", "Reply, by Anthropic's endpoint", MessagesRequest, answers.MessageAnswer),
    Operation(
        *("POST", "/v1/messages/count_tokens", "Tokens of a conversation"),
        *(MessagesRequest, answers.TokenCount),
        refusals=_COUNTED,
        counts=True,
    ),
    _tool("/tokenize", "A text as token ids", TokenizeRequest, Tokens),
    _tool("/detokenize", "Token ids as a text", DetokenizeRequest, Detokenized),
    _tool("/apply-template", "A conversation as the model reads it", TemplateRequest, Rendered),
)
