"""Texts to vectors, by any language model: the mean of its last hidden states over the text's tokens.

Tokens that a tokenizer puts before every text (bos) are seen by the others and are no part of the mean. A
text longer than the model's context is read in pieces, and its mean is that of all of them.

Shapes: N texts, D hidden_size.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.hidden import HiddenSums
from llmkit.errors import DataError
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

    def __init__(self, model: "Transformer", encoder: PromptEncoder) -> None:
        self._model, self._encoder = model, encoder
        self.width = model.config.hidden_size
        self._before = encoder.before_texts
        self._room = max(1, model.config.max_position_embeddings - len(self._before))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (N, D) of length 1; of a text without a token, zeros.

        Raises:
            DataError: hidden states that are not numbers, or a text that the tokenizer has no tokens for.
        """
        owners: list[int] = []
        rows: list[list[int]] = []
        for number, text in enumerate(texts):
            ids = self._encoder.encode(text, special=False) if text else []
            for at in range(0, len(ids), self._room):
                owners.append(number)
                rows.append([*self._before, *ids[at : at + self._room]])
        sums = np.zeros((len(texts), self.width))
        if rows:
            reading = HiddenSums(self._model, rows, [len(self._before)] * len(rows), most=PASS_TOKENS)
            while not reading.step():
                pass
            np.add.at(sums, owners, reading.sums)
        return unit_vectors(sums)
