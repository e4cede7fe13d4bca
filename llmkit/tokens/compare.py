"""What one tokenizer makes of one group of texts: the figures that tokenizers are compared by."""

from dataclasses import dataclass


@dataclass
class Tally:
    """Running totals over the documents of a group."""

    documents: int = 0
    tokens: int = 0
    bytes: int = 0
    words: int = 0
    """Runs between white space. For scripts written without spaces read bytes_per_token instead."""

    def add(self, text: str, tokens: int) -> None:
        """Count one document, encoded in `tokens` tokens."""
        self.documents += 1
        self.tokens += tokens
        self.bytes += utf8_length(text)
        self.words += len(text.split())

    @property
    def bytes_per_token(self) -> float | None:
        """Compression: UTF-8 bytes behind one token. None without tokens."""
        return self.bytes / self.tokens if self.tokens else None

    @property
    def tokens_per_word(self) -> float | None:
        """Fertility. None without words."""
        return self.tokens / self.words if self.words else None


def cost(tokens: int, price: float) -> float:
    """What `tokens` cost at a price for a million of them."""
    return tokens * price / 1e6


def utf8_length(text: str) -> int:
    """The number of bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())
