"""`/tokenize`, `/detokenize`, `/apply-template`: in vLLM's words and in llama.cpp's.

Source: vLLM's "OpenAI-compatible server: Tokenizer API"; llama.cpp's tools/server/README.md.
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from llmkit.server.errors import ApiError, refused

MOST_TOKENS = 1 << 20
"""Of one text to put together."""


class TokenizeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of /tokenize: a text, or a conversation."""

    model: str | None = None
    prompt: str | None = None
    content: str | None = None
    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_special_tokens: bool | None = None
    add_special: bool | None = None
    return_token_strs: bool | None = None
    parse_special: bool | None = None
    with_pieces: bool | None = None

    @property
    def text(self) -> str | None:
        """The text, by either name."""
        return self.prompt if self.prompt is not None else self.content

    @property
    def adds_special(self) -> bool:
        """Whether what belongs around a text is put there: yes by vLLM's name, where nothing is said; no by
        llama.cpp's."""
        if self.add_special_tokens is not None:
            return self.add_special_tokens
        return self.add_special if self.add_special is not None else self.content is None

    @property
    def parses_special(self) -> bool:
        """Whether what looks like a special token is one: where nothing is said, as the endpoint of the same
        words has it, llama.cpp's yes and OpenAI's no."""
        return self.parse_special if self.parse_special is not None else self.content is not None

    def check(self) -> None:
        """Refuse what is ambiguous.

        Raises:
            ApiError: 400.
        """
        given = [name for name in ("prompt", "content", "messages") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ApiError(
                400, f"prompt: one of prompt, content and messages (found {found})", param="prompt"
            )
        for name in ("tools", "chat_template_kwargs"):
            if getattr(self, name) and self.messages is None:
                raise refused(name, "only with messages")
        if self.parse_special is False and self.messages is not None:
            raise refused("parse_special", "only with a text: the marks of a template are special")


class DetokenizeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of /detokenize."""

    tokens: list[int]
    model: str | None = None


class TemplateRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of /apply-template."""

    messages: list[dict[str, Any]]
    model: str | None = None
    tools: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class TokenPiece(msgspec.Struct):
    """A token and how it is spelled."""

    id: int
    piece: str | list[int]


class Tokens(msgspec.Struct):
    """The answer of /tokenize."""

    count: int
    max_model_len: int
    tokens: list[int | TokenPiece]
    token_strs: list[str] | UnsetType = UNSET


class Detokenized(msgspec.Struct):
    """The answer of /detokenize: the text, by vLLM's name and by llama.cpp's."""

    prompt: str
    content: str


class Rendered(msgspec.Struct):
    """The answer of /apply-template."""

    prompt: str


def piece_of(spelled: bytes) -> str | list[int]:
    """What a token spells as llama.cpp tells it: a text, or its bytes where it has part of a character."""
    try:
        return spelled.decode()
    except UnicodeDecodeError:
        return list(spelled)
