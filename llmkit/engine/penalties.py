"""Penalties on tokens that were written before.

Shapes: V vocab_size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from llmkit.engine.config import SamplingConfig


class Penalties:
    """What one request has read and written, and what that takes off the scores.

    The repetition penalty (1909.05858, CTRL) counts the prompt too; presence and frequency penalties count
    the text alone, as OpenAI's do.
    """

    def __init__(self, config: SamplingConfig, prompt: Sequence[int], vocab_size: int) -> None:
        self._config = config
        self._seen = torch.zeros(vocab_size, dtype=torch.bool)
        self._seen[list(set(prompt))] = True
        self._counts = torch.zeros(vocab_size)

    def apply(self, logits: Tensor) -> Tensor:
        """logits: (V,) float32. Returns (V,), the given ones unchanged."""
        config = self._config
        if config.repetition_penalty != 1:
            divided = torch.where(
                logits > 0, logits / config.repetition_penalty, logits * config.repetition_penalty
            )
            logits = torch.where(self._seen, divided, logits)
        if config.presence_penalty or config.frequency_penalty:
            logits = logits - config.frequency_penalty * self._counts
            logits = logits - config.presence_penalty * (self._counts > 0)
        return logits

    def add(self, token_id: int) -> None:
        """Count a token that was drawn."""
        self._seen[token_id] = True
        self._counts[token_id] += 1
