"""The size of texts of which only the ids are at hand: packed rows, documents that came as tokens."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from llmkit.tokens.infill import infill_form_of
from llmkit.tokens.tokenizer import Tokenizer

_SPACE = b" "
_ANY_TEXT = "a"  # begins with no blank


@dataclass(frozen=True)
class TextSizes:
    """UTF-8 bytes of text behind ids.

    SentencePiece puts a space before a text, and after what is special a text begins: there it is none of the
    text's bytes. Where the text itself began with a space and the tokenizer added none, one byte is missing.
    """

    behind: NDArray[Any]
    """(V,) bytes behind each id, 0 where it is special, marks a gap or is no token; floats where they are a
    mean."""
    own_space: NDArray[np.bool_] | None = None
    """(V,) ids that begin with a space which is the tokenizer's where a text begins; None: it adds none."""

    @classmethod
    def of_tokenizer(cls, tokenizer: Tokenizer, vocab_size: int | None = None) -> Self:
        """As its tokens are spelled, for ids up to `vocab_size`; None: as many as the tokenizer has."""
        sizes = tokenizer.byte_lengths
        behind = np.zeros(vocab_size or len(sizes), np.int64)
        behind[: len(sizes)] = sizes[: len(behind)]
        form = infill_form_of(tokenizer)
        if form is not None:  # Qwen's marks of a gap are added as ordinary tokens
            behind[[one for one in form.marks if one < len(behind)]] = 0
        text = [one for one in tokenizer.encode(_ANY_TEXT) if sizes[one]]
        if not text or not tokenizer.token_bytes(text[0]).startswith(_SPACE):
            return cls(behind)
        spaced = (tokenizer.token_bytes(one).startswith(_SPACE) for one in range(len(behind)))
        return cls(behind, np.fromiter(spaced, np.bool_, len(behind)) & (behind > 0))

    @classmethod
    def mean(cls, size: float, vocab_size: int) -> Self:
        """As many for each id."""
        return cls(np.full(vocab_size, size))

    def opens_after(self, ids: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether a text begins after each id: after special ones."""
        return self.behind[ids] == 0

    def total(self, ids: NDArray[Any], opens: NDArray[np.bool_]) -> float:
        """Bytes behind all of some ids (N,); `opens` (N,) tells which ones a text begins with."""
        total = self.behind[ids].sum()
        if self.own_space is not None:
            total -= np.count_nonzero(self.own_space[ids] & opens)
        return float(total)
