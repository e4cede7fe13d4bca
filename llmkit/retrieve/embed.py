"""Texts to vectors, by any language model: the mean of its last hidden states over the text's tokens.

Tokens that a tokenizer puts before every text (bos) are seen by the others and are no part of the mean. A
text longer than the model's context is read in pieces, and its mean is that of all of them.

Shapes: N texts, B pieces of a pass, T tokens, D hidden_size.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from llmkit.errors import DataError
from llmkit.model.transformer import Transformer
from llmkit.tokens.prompt import PromptEncoder

PASS_TOKENS = 4096
"""Of a pass through the model, with what fills rows up."""


def before_texts(encoder: PromptEncoder) -> list[int]:
    """What is put before every text, and is no part of its mean."""
    return encoder.encode("a")[: -len(encoder.encode("a", special=False))]


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

    def __init__(self, model: Transformer, encoder: PromptEncoder) -> None:
        self._model, self._encoder = model, encoder
        self.width = model.config.hidden_size
        self._before = before_texts(encoder)
        self._room = max(1, model.config.max_position_embeddings - len(self._before))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (N, D) of length 1; of a text without a token, zeros.

        Raises:
            DataError: hidden states that are not numbers, or a text that the tokenizer has no tokens for.
        """
        pieces: list[tuple[int, list[int]]] = []
        for number, text in enumerate(texts):
            ids = self._encoder.encode(text, special=False) if text else []
            pieces += [(number, ids[at : at + self._room]) for at in range(0, len(ids), self._room)]
        pieces.sort(key=lambda piece: len(piece[1]))  # rows of one pass are about as long as each other
        sums = np.zeros((len(texts), self.width))
        start = 0
        while start < len(pieces):
            stop = start + 1
            while stop < len(pieces) and (stop + 1 - start) * len(pieces[stop][1]) <= PASS_TOKENS:
                stop += 1
            numbers = [number for number, _ in pieces[start:stop]]
            np.add.at(sums, numbers, self._sums([ids for _, ids in pieces[start:stop]]))
            start = stop
        return unit_vectors(sums)

    @torch.inference_mode()
    def _sums(self, rows: list[list[int]]) -> NDArray[np.float64]:
        """(B, D): hidden states of each row's own tokens, added up. What fills a row up stands behind them,
        where a causal model does not see it."""
        before, longest = len(self._before), len(rows[-1])
        ids = torch.zeros(len(rows), before + longest, dtype=torch.int64)
        counted = torch.zeros(len(rows), longest)
        for place, row in enumerate(rows):
            ids[place, : before + len(row)] = torch.tensor([*self._before, *row])
            counted[place, : len(row)] = 1
        device = self._model.model.embed_tokens.weight.device
        hidden = self._model.hidden(ids.to(device))[:, before:].float()  # (B, T, D)
        summed: torch.Tensor = torch.einsum("btd,bt->bd", hidden, counted.to(device))
        return summed.double().cpu().numpy()
