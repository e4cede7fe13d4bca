"""Answers as the document describes them: structs that tests hold to the dicts which endpoints make."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

Object = dict[str, Any]


class Status(msgspec.Struct):
    """How the server is."""

    status: str
    model: str | UnsetType = UNSET
    models: list[str] | UnsetType = UNSET


class ModelCard(msgspec.Struct):
    """A model, or a model with an adapter."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int | None
    system_fingerprint: str | None
    parent: str | UnsetType | None = UNSET
    has_chat_template: bool | UnsetType = UNSET
    fills_gaps: bool | UnsetType = UNSET
    """Whether it knows marks around a gap: `suffix` of `/v1/completions` asks for the text in it."""
    has_index: bool | UnsetType = UNSET
    """Whether there are passages to put before a question."""
    server_tools: list[str] | UnsetType = UNSET
    """What the server itself runs for it."""
    vocab_size: int | UnsetType = UNSET
    hidden_size: int | UnsetType = UNSET
    meta: dict[str, int] | UnsetType = UNSET
    """Sizes, as llama.cpp tells them."""


class ModelList(msgspec.Struct):
    """Models that may be asked."""

    object: Literal["list"]
    data: list[ModelCard]


class Load(msgspec.Struct):
    """What an engine, or the workers of a model, are busy with."""

    model: str
    running: int
    waiting: int
    cache_used: float
    drawn_tokens: int | UnsetType = UNSET
    prefill_tokens: int | UnsetType = UNSET
    cached_tokens: int | UnsetType = UNSET
    workers: int | UnsetType = UNSET
    by_worker: list[Object] | UnsetType = UNSET


class LoadList(msgspec.Struct):
    """Of each model."""

    object: Literal["list"]
    data: list[Load]


class CachedTokens(msgspec.Struct):
    """Of the prompt's tokens."""

    cached_tokens: int


class ReasoningTokens(msgspec.Struct):
    """Of the tokens written."""

    reasoning_tokens: int


class TextUsage(msgspec.Struct):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens
    completion_tokens_details: ReasoningTokens


class ScoreColumns(msgspec.Struct):
    """Log probabilities, a list for each kind of figure."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(msgspec.Struct):
    """A text."""

    index: int
    text: str
    logprobs: ScoreColumns | None
    finish_reason: Literal["stop", "length"] | None
    stop_reason: str | None


class Completion(msgspec.Struct):
    """The answer of /v1/completions."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[CompletionChoice]
    usage: TextUsage


class ChatChoice(msgspec.Struct):
    """A message."""

    index: int
    message: Object
    logprobs: Object | None
    finish_reason: Literal["stop", "length", "tool_calls"] | None
    stop_reason: str | None


class ChatCompletion(msgspec.Struct):
    """The answer of /v1/chat/completions."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[ChatChoice]
    usage: TextUsage


class TokenDetails(msgspec.Struct):
    """More of the tokens of a response."""

    cached_tokens: int | UnsetType = UNSET
    reasoning_tokens: int | UnsetType = UNSET


class ResponseUsage(msgspec.Struct):
    """Tokens read and written."""

    input_tokens: int
    input_tokens_details: TokenDetails
    output_tokens: int
    output_tokens_details: TokenDetails
    total_tokens: int


class ResponseAnswer(msgspec.Struct):
    """The answer of /v1/responses."""

    id: str
    object: Literal["response"]
    created_at: int
    model: str
    status: Literal["completed", "incomplete"]
    background: bool
    error: Object | None
    incomplete_details: Object | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: Object
    output: list[Object]
    parallel_tool_calls: bool
    previous_response_id: str | None
    store: bool
    temperature: float | None
    tool_choice: str | Object
    tools: list[Object]
    top_p: float | None
    usage: ResponseUsage
    citations: list[Object] | UnsetType = UNSET


class MessageUsage(msgspec.Struct):
    """Tokens read, found in the cache, and written."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int


class MessageAnswer(msgspec.Struct):
    """The answer of /v1/messages."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[Object]
    stop_reason: Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]
    stop_sequence: str | None
    usage: MessageUsage
    citations: list[Object] | UnsetType = UNSET


class TokenCount(msgspec.Struct):
    """The answer of /v1/messages/count_tokens."""

    input_tokens: int


class ReadTokens(msgspec.Struct):
    """Tokens of texts that became vectors."""

    prompt_tokens: int
    total_tokens: int


class Embedding(msgspec.Struct):
    """A vector, as numbers or as their bytes in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(msgspec.Struct):
    """The answer of /v1/embeddings."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: ReadTokens


class Ranked(msgspec.Struct):
    """A document by its place in the request, and how well it answers."""

    index: int
    relevance_score: float
    document: Object | UnsetType = UNSET


class Ranking(msgspec.Struct):
    """The answer of /v1/rerank, the best document first."""

    id: str
    object: Literal["list"]
    model: str
    results: list[Ranked]
    usage: ReadTokens


class LlamaAnswer(msgspec.Struct):
    """The answer of /completion and /infill; with `response_fields` these alone, by their paths."""

    stop: bool
    index: int
    content: str
    model: str
    tokens_predicted: int
    tokens_evaluated: int
    tokens_cached: int
    has_new_line: bool
    truncated: bool
    stop_type: Literal["eos", "word", "limit"]
    stopping_word: str
    timings: dict[str, float]
    completion_probabilities: list[Object] | UnsetType = UNSET
