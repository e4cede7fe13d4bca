"""What a tokenizer is: its model, its vocabulary, its special tokens, how it cuts text before it merges."""

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from llmkit.formats.provenance import read_provenance
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.patterns import GPT2, GPT4, QWEN2
from llmkit.tokens.steps import steps_of
from llmkit.tokens.tokenizer import ROLES, Tokenizer

LONGEST = 8
PATTERNS = {"gpt2": GPT2, "gpt4": GPT4, "qwen2": QWEN2}
"""The patterns with a name; Llama 3 cuts as GPT-4 does."""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One token of a vocabulary."""

    id: int
    piece: str
    """As the vocabulary stores it: byte-level tokenizers write a space as Ġ."""
    text: str | None
    """The text it stands for; None where its bytes are part of a character."""
    hex: str
    """Its bytes."""
    special: bool = False


class SpecialToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token that text never turns into by itself, and what it is used as."""

    id: int
    piece: str
    roles: list[str]


class TokenizerReport(msgspec.Struct, frozen=True, kw_only=True):
    """A tokenizer folder or file."""

    schema: str = "llmkit.show/1"
    kind: str = "tokenizer"
    path: str
    model: str
    """BPE, Unigram, WordPiece or WordLevel."""
    bytes_as: str | None
    """`byte-level` or `byte fallback`; None where some text has no ids."""
    vocab_size: int
    merges: int | None
    special_tokens: list[SpecialToken]
    pre_tokenizer: str
    """gpt2, gpt4 or qwen2; `other` for a pattern without a name; the steps' types, or `none`, without one."""
    pattern: str | None
    """The pattern that cuts text into words before merging."""
    normalizer: list[str]
    added_to_text: list[str]
    """The special tokens that the tokenizer puts around a text when asked to."""
    chat_template: str | None
    named_templates: tuple[str, ...] = ()
    """Names of chat templates beside that one."""
    longest: list[Piece]
    sha256: str
    made_by: str | None


class TemplatesReport(msgspec.Struct, frozen=True, kw_only=True):
    """Chat templates, word for word."""

    schema: str = "llmkit.show-template/1"
    path: str
    templates: dict[str, str]
    """By name; that of most chats is the first, called `default` where it has no name of its own."""


def show_tokenizer(path: Path) -> TokenizerReport:
    """A tokenizer folder or file.

    Raises:
        MissingError: a file is not there.
        DataError: it is damaged.
    """
    tokenizer = load_tokenizer(path)
    content: dict[str, Any] = msgspec.json.decode(tokenizer.backend.to_str())
    model = content["model"]
    pieces = list(list_pieces(tokenizer))
    name, pattern = _pre_tokenizer(content.get("pre_tokenizer"))
    provenance = read_provenance(path) if path.is_dir() else None
    return TokenizerReport(
        path=str(path),
        model=model.get("type") or "Unigram",
        bytes_as=_bytes_as(content),
        vocab_size=tokenizer.vocab_size,
        merges=len(model["merges"]) if "merges" in model else None,
        special_tokens=[
            SpecialToken(id=one.id, piece=one.piece, roles=_roles(tokenizer, one.id))
            for one in pieces
            if one.special
        ],
        pre_tokenizer=name,
        pattern=pattern,
        normalizer=[one["type"] for one in steps_of(content.get("normalizer"))],
        added_to_text=[tokenizer.token_text(one) for one in tokenizer.encode("", special_tokens=True)],
        chat_template=tokenizer.chat_template,
        named_templates=tuple(sorted(tokenizer.named_templates)),
        longest=heapq.nlargest(LONGEST, (one for one in pieces if not one.special), key=_length),
        sha256=tokenizer.sha256,
        made_by=(provenance or {}).get("command_line"),
    )


def list_pieces(tokenizer: Tokenizer) -> Iterator[Piece]:
    """Every token in the order of ids; ids that no token has are left out."""
    added = tokenizer.backend.get_added_tokens_decoder()
    for token_id in range(tokenizer.vocab_size):
        piece = tokenizer.backend.id_to_token(token_id)
        if piece is None:
            continue
        content = tokenizer.token_bytes(token_id)
        special = token_id in added and added[token_id].special
        yield Piece(id=token_id, piece=piece, text=_text(content), hex=content.hex(), special=special)


def _length(piece: Piece) -> tuple[int, int]:
    return len(piece.hex), -piece.id


def _text(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _roles(tokenizer: Tokenizer, token_id: int) -> list[str]:
    return [role for role in ROLES if getattr(tokenizer, f"{role}_id") == token_id]


def _bytes_as(content: dict[str, Any]) -> str | None:
    steps = steps_of(content.get("pre_tokenizer"))
    if any(step["type"] == "ByteLevel" for step in steps):
        return "byte-level"
    return "byte fallback" if content["model"].get("byte_fallback") else None


def _pre_tokenizer(part: dict[str, Any] | None) -> tuple[str, str | None]:
    """The name of the way text is cut into words, and the pattern where there is one."""
    steps = steps_of(part)
    patterns = [step["pattern"]["Regex"] for step in steps if "Regex" in step.get("pattern", {})]
    if patterns:
        names = [name for name, pattern in PATTERNS.items() if pattern in patterns]
        return names[0] if names else "other", " then ".join(patterns)
    if any(step["type"] == "ByteLevel" and step.get("use_regex", True) for step in steps):
        return "gpt2", None  # the pattern that the library has built in
    return ", ".join(step["type"] for step in steps) or "none", None
