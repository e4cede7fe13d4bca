"""What a router reads of a request's body: enough to find it a place. The rest is for a worker to refuse."""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from llmkit.server.errors import ApiError, refused
from llmkit.server.router.routing import BYTES_PER_TOKEN, prefixes_of
from llmkit.server.strict_json import as_whole, decode
from llmkit.server.wire.completions import DEFAULT_MAX_TOKENS
from llmkit.server.wire.llama import LLAMA
from llmkit.server.wire.rerank import RERANK
from llmkit.server.wire.sampling import HINTS

_MAX_TOKENS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_OWNERS = (*HINTS, "user", "safety_identifier", "conversation")
UNWRITTEN = ("/v1/embeddings", *RERANK)
"""Endpoints for which tokens are read and none is written."""
_READ = (
    *("tools", "system", "instructions", "messages", "input", "input_extra", "input_prefix", "prompt"),
    *("input_suffix", "query", "documents"),
)
"""Fields that are a prompt, in the order in which a model reads them."""
DEFAULT_CONTEXT = 4096
"""Where a worker does not say how long its texts may be."""
_BEGINNING = 256


@dataclass(frozen=True)
class Asked:
    """A body, read as far as that."""

    content: dict[str, Any]
    model: str | None
    stream: bool
    prompt: bytes
    """All that is read before the answer, as the body has it."""
    prompt_tokens: int
    """A guess, for the queue: what is charged is counted by the worker."""
    prompts: int
    samples: int
    """Answers to each."""
    conversation: str
    """What stays the same as a conversation goes on."""
    digest: bytes
    """Of the whole body."""

    @property
    def answers(self) -> int:
        """To all its prompts."""
        return self.prompts * self.samples

    @property
    def user(self) -> str:
        """On whose behalf, as OpenAI's clients say it or Anthropic's; empty where they do not."""
        more = self.content.get("metadata")
        named = more.get("user_id") if isinstance(more, dict) else None
        told = (self.content.get("user"), self.content.get("safety_identifier"), named)
        return next((one for one in told if one and isinstance(one, str)), "")

    @property
    def said(self) -> Any:
        """Of the prompt, what a log has, whatever its endpoint calls it; a query is before documents."""
        if isinstance(documents := self.content.get("documents"), list):
            return [self.content.get("query"), *documents]
        names = ("messages", "input_prefix", "prompt", "input")
        return next((self.content[name] for name in names if self.content.get(name)), None)

    def max_tokens(self, path: str, context: int | None) -> int:
        """Tokens that all its answers may come to; of several prompts each counts as long as another.

        Args:
            path: of the endpoint.
            context: positions that the model has; None: it does not say.
        """
        if path in UNWRITTEN:
            return 0
        told = (as_whole(self.content.get(name)) for name in _MAX_TOKENS)
        most = next((one for one in told if one is not None), None)
        if most is None and path == "/v1/completions":
            most = DEFAULT_MAX_TOKENS
        if path in LLAMA and (number := as_whole(self.content.get("n_predict"))) is not None:
            most = None if number < 0 else number
        room = max(1, (context or DEFAULT_CONTEXT) - self.prompt_tokens // self.prompts)
        return self.answers * (room if most is None else max(0, min(most, room)))

    def encoded(self, more: dict[str, Any]) -> bytes:
        """The body with other values for some fields; those of None are left out."""
        content = {**self.content, **more}
        gone = {name for name, value in more.items() if value is None}
        return msgspec.json.encode({name: one for name, one in content.items() if name not in gone})

    def prefixes(self, salt: str) -> tuple[bytes, ...]:
        """Digests of the prompt's beginnings; see `routing.prefixes_of`."""
        return prefixes_of(self.prompt, salt)


def read_asked(body: bytes) -> Asked:
    """Read a body.

    Raises:
        ApiError: 400: it is no JSON object, or its model or stream are of the wrong type.
    """
    content: dict[str, Any] = decode(body, dict)
    model, stream = content.get("model"), content.get("stream")
    if not isinstance(model, str | None):
        raise refused("model", "a string", code="invalid_type")
    if not isinstance(stream, bool | None):
        raise refused("stream", "true or false", code="invalid_type")
    try:
        prompt = msgspec.json.encode([content.get(name) for name in _READ])
        digest = hashlib.sha256(msgspec.json.encode(content)).digest()
    except UnicodeEncodeError:
        raise ApiError(400, "the body has half a character", code="invalid_json") from None
    samples = as_whole(content.get("n")) or 1
    number, prompts = _tokens_of(content)
    return Asked(
        content=content,
        model=model or None,
        stream=bool(stream),
        prompt=prompt,
        prompt_tokens=number or max(1, len(prompt) // BYTES_PER_TOKEN),
        prompts=prompts,
        samples=max(1, samples),
        conversation=_conversation(content, prompt),
        digest=digest,
    )


def _tokens_of(content: dict[str, Any]) -> tuple[int, int]:
    """Tokens, where the prompt is given as ids, and how many prompts there are."""
    prompt = content.get("prompt")
    if not isinstance(prompt, list) or not prompt:
        return _input_ids(content.get("input")), 1
    if as_whole(prompt[0]) is not None:
        return len(prompt), 1
    return sum(len(one) for one in prompt if isinstance(one, list)), len(prompt)


def _input_ids(told: Any) -> int:
    """Tokens of texts that are to become vectors, where they are given as ids; else 0."""
    rows = told if isinstance(told, list) else []
    return sum(len(one) if isinstance(one, list) else as_whole(one) is not None for one in rows)


def _conversation(content: dict[str, Any], prompt: bytes) -> str:
    """The name that the client gave it, or how it began: up to the first message of the user."""
    for name in _OWNERS:
        if isinstance(content.get(name), str):
            return f"{name} {content[name]}"
    told = content.get("messages", content.get("input"))
    if not isinstance(told, list):
        return prompt[:_BEGINNING].decode(errors="replace")
    roles = [one.get("role") if isinstance(one, dict) else None for one in told]
    first = roles.index("user") + 1 if "user" in roles else 1
    return msgspec.json.encode(told[:first]).decode()
