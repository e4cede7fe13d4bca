"""Texts to vectors, by any language model: out of its last hidden states, as its files say.

Where they say nothing it is the mean over the text's tokens: those that a tokenizer puts before every text
(bos) are seen by the others and are no part of it. A text longer than the model's context is read in pieces,
and its mean is that of all of them.

Shapes: N texts, D hidden_size.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.hidden import HiddenSums
from llmkit.errors import DataError
from llmkit.model.pooling import OWN, Pooling
from llmkit.tokens.prompt import PromptEncoder

if TYPE_CHECKING:
    from llmkit.model.transformer import Transformer

PASS_TOKENS = 4096
"""Of a pass through the model."""


def unit_vectors(sums: NDArray[np.float64]) -> NDArray[np.float32]:
    """Means of hidden states from their sums (N, D), each of length 1; of a text without a token, zeros.

    Raises:
        DataError: they are not numbers.
    """
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise DataError("hidden states that are not numbers", hint="llmkit doctor MODEL looks into weights")
    return (sums / np.where(lengths > 0, lengths, 1)).astype(np.float32)


class Embedder:
    """A model in evaluation mode that makes vectors."""

    def __init__(self, model: "Transformer", encoder: PromptEncoder, pooling: Pooling = OWN) -> None:
        self._model, self._encoder, self._pooling = model, encoder, pooling
        self.width = model.config.hidden_size
        self._longest = pooling.room(model.config.max_position_embeddings)
        self._before = encoder.before_texts

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (N, D) of passages, of length 1; of one without a token, zeros.

        Raises:
            DataError: hidden states that are not numbers, or a text that the tokenizer has no tokens for, or
                one that is too long for a vector that is its last token's.
        """
        return self._embed(texts, self._pooling.passage)

    def embed_query(self, query: str) -> NDArray[np.float32]:
        """The vector (D,) of a query.

        Raises:
            DataError: see `embed`.
        """
        return self._embed([query], self._pooling.query)[0]

    def _embed(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        owners: list[int] = []
        rows: list[list[int]] = []
        for number, text in enumerate(texts):
            pieces = self._pieces(prompt + text) if text else []
            owners += [number] * len(pieces)
            rows += pieces
        sums = np.zeros((len(texts), self.width))
        if rows:
            skipped = [self._pooling.skipped(len(row), len(self._before)) for row in rows]
            reading = HiddenSums(self._model, rows, skipped, most=PASS_TOKENS)
            while not reading.step():
                pass
            np.add.at(sums, owners, reading.sums)
        return unit_vectors(sums)

    def _pieces(self, text: str) -> list[list[int]]:
        """A text's tokens, cut to what the model reads at once."""
        if self._pooling.is_told:
            before, ids = [], self._encoder.encode_whole(text)
        else:
            before, ids = self._before, self._encoder.encode(text, special=False)
        room = max(1, self._longest - len(before))
        if self._pooling.mode == "last" and len(ids) > room:
            raise DataError(
                f"a text of {len(ids):,} tokens, and the model makes vectors of up to {room:,}",
                hint="retrieve index --chunk N cuts documents into passages of so many",
            )
        return [[*before, *ids[at : at + room]] for at in range(0, len(ids), room)]
