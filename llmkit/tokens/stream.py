"""Ids to text as they come, never half a character.

The pieces of nearly every vocabulary, put end to end, are the text: byte-level ones, SentencePiece, byte
fallback. Their bytes go through an incremental UTF-8 decoder. For the others (WordPiece, suffixes at the end
of words, no decoder) the whole text is decoded again with each token, and what is new in it comes out.
"""

import codecs
import json
from collections.abc import Collection, Iterable
from typing import Any

from llmkit.tokens.steps import steps_of
from llmkit.tokens.tokenizer import Tokenizer

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class StreamDecoder:
    """Decodes one text, a token at a time.

    The pushes and the flush, put together, are `tokenizer.decode` of all ids. One difference is meant: where
    bytes of a byte-fallback vocabulary are not UTF-8, the library gives up the whole run of byte tokens, one
    U+FFFD a byte; here the characters in the run that are whole have come out already, and stay.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        after: Iterable[int] = (),
        skip_special: bool = False,
        shown: Collection[int] = (),
    ) -> None:
        """
        Args:
            tokenizer: whose ids.
            after: ids that stand before the first one pushed, such as the prompt: their text does not come
                out, but a leading space that belongs between is kept.
            skip_special: leave special tokens out of the text.
            shown: of these, ids that stay in it, such as those that open a call.
        """
        added = tokenizer.backend.get_added_tokens_decoder() if skip_special else {}
        self._tokenizer = tokenizer
        self._hidden = frozenset(index for index, token in added.items() if token.special).difference(shown)
        before = [one for one in after if one not in self._hidden]
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_plain = joins_plainly(tokenizer.backend.decoder)
        self._at_start = not before
        self._ids = [] if self._is_plain else before
        self._said = "" if self._is_plain else tokenizer.decode(before)

    def push(self, token_id: int) -> str:
        """The whole characters that this token completes; empty while it ends inside one."""
        if token_id in self._hidden:
            return ""
        if not self._is_plain:
            self._ids.append(token_id)
            return self._new(self._tokenizer.decode(self._ids).rstrip(REPLACEMENT))
        content = self._tokenizer.token_bytes(token_id)
        if self._at_start and content:
            self._at_start = False
            content = self._first(token_id, content)
        return self._utf8.decode(content)

    def flush(self) -> str:
        """What is left at the end: U+FFFD for a character that was never completed."""
        if not self._is_plain:
            return self._new(self._tokenizer.decode(self._ids))
        return self._utf8.decode(b"", final=True)

    def _first(self, token_id: int, content: bytes) -> bytes:
        """The first token without the spaces that decoding leaves out at the start of a text."""
        if content.startswith(b" "):
            text = self._tokenizer.decode([token_id])
            if content.endswith(text.encode()):
                return text.encode()
        return content

    def _new(self, text: str) -> str:
        piece = text[len(self._said) :]
        self._said += piece
        return piece


def joins_plainly(decoder: Any) -> bool:
    """Whether the decoder only puts the bytes of pieces end to end, without one space at the start."""
    return decoder is not None and all(
        _is_plain(step) for step in steps_of(json.loads(decoder.__getstate__()))
    )


def _is_plain(step: dict[str, Any]) -> bool:
    match step["type"]:
        case "ByteLevel" | "ByteFallback" | "Fuse" | "Metaspace":
            return True
        case "Replace":  # the mark of a space
            return step["content"] == " " and "String" in step["pattern"]
        case "Strip":
            return bool(step["content"] == " " and step["start"] <= 1 and step["stop"] == 0)
        case _:
            return False
