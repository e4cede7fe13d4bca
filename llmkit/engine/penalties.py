"""Penalties on tokens that were written before.

Shapes: V vocab_size.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.config import SamplingConfig


class Penalties:
    """What one request has read and written, and what that takes off the scores.

    The repetition penalty (1909.05858, CTRL) counts the prompt too; presence and frequency penalties count
    the text alone, as OpenAI's do; all of them the last `repeat_last_n` tokens only.
    """

    def __init__(self, config: SamplingConfig, prompt: Sequence[int], vocab_size: int) -> None:
        self._config, self._last = config, config.repeat_last_n
        if self._last >= 0:
            prompt = prompt[max(0, len(prompt) - self._last) :]
        self._window = deque(prompt if self._last >= 0 else ())
        self._of_prompt = len(self._window)
        self._seen = np.bincount(np.array(prompt, np.int64), minlength=vocab_size)
        self._counts = np.zeros(vocab_size, np.float32)

    def apply(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """logits: (V,). Returns (V,), the given ones unchanged."""
        config, penalty = self._config, self._config.repetition_penalty
        logits = logits.copy()
        if penalty != 1:
            seen = np.flatnonzero(self._seen)
            scores = logits[seen]
            with np.errstate(over="ignore"):  # of what has no chance anyway
                logits[seen] = np.where(scores > 0, scores / penalty, scores * penalty)
        if config.presence_penalty or config.frequency_penalty:
            logits -= config.frequency_penalty * self._counts
            logits -= config.presence_penalty * (self._counts > 0).astype(np.float32)
        return logits

    def add(self, token_id: int) -> None:
        """Count a token that was drawn."""
        self._seen[token_id] += 1
        self._counts[token_id] += 1
        if self._last < 0:
            return
        self._window.append(token_id)
        if len(self._window) > self._last:
            self._forget(self._window.popleft())

    def _forget(self, token_id: int) -> None:
        self._seen[token_id] -= 1
        if self._of_prompt:
            self._of_prompt -= 1
        else:
            self._counts[token_id] -= 1
