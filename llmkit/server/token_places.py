"""Where the tokens of a text stand in it, such as those of a prompt as it was sent: `text_offset`."""

from llmkit.tokens.tokenizer import Tokenizer

_NEAR = 64
"""Bytes of the text that are looked through for a token that is not where it should be: a tokenizer may have
read other letters than were sent."""


class TokenPlaces:
    """A text whose tokens are placed one after the other."""

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        """
        Args:
            text: as it comes out, with special tokens or without.
            tokenizer: whose tokens are placed.
        """
        self._content = text.encode()
        self._tokenizer = tokenizer
        self._at = 0
        self._begun = 0
        """Characters that begin before this byte."""

    def place(self, token_id: int) -> int:
        """Characters before the next token; a special one that the text does not have takes none itself."""
        token = self._tokenizer.token_bytes(token_id)
        # a model may have ids that no token has
        is_special = bool(token) and self._tokenizer.byte_lengths[token_id] == 0
        begin, end = self._find(token, is_special=is_special)
        self._pass(begin)
        within = begin < len(self._content) and _goes_on(self._content[begin])
        offset = self._begun - within
        self._pass(end)
        return offset

    def _find(self, token: bytes, *, is_special: bool) -> tuple[int, int]:
        """Bytes of the text that are the token; none of them where it is not there."""
        for spelled in (token, token.removeprefix(b" ")):  # SentencePiece puts one before a text
            if spelled and self._content.startswith(spelled, self._at):
                return self._at, self._at + len(spelled)
        if token and not is_special:
            found = self._content.find(token, self._at, self._at + _NEAR + len(token))
            if found >= 0:
                return found, found + len(token)
        return self._at, self._at

    def _pass(self, until: int) -> None:
        self._begun += sum(not _goes_on(one) for one in self._content[self._at : until])
        self._at = until


def _goes_on(byte: int) -> bool:
    """Whether a byte of UTF-8 is not the first of its character."""
    return byte & 0xC0 == 0x80
