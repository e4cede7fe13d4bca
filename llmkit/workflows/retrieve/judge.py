"""Ranking passages again by a model that was made to judge whether they answer, such as Qwen3-Reranker."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmkit.engine.hidden import HiddenSums
from llmkit.errors import DataError
from llmkit.model.relevance import HALF_CHARACTER, Relevance
from llmkit.retrieve.embed import PASS_TOKENS
from llmkit.retrieve.hits import Hit
from llmkit.workflows.inspect_attention.open import InspectOptions, open_inspected

_PAIRS = 64
"""Whose scores of the whole vocabulary are there at once: of 1,000 they would fill a gigabyte."""


class Judge:
    """A model that scores passages: by the logit of yes, less that of no where it has one."""

    def __init__(self, model: Path, device: str, relevance: Relevance) -> None:
        """
        Args:
            model: its folder.
            device: where it runs.
            relevance: how it judges.

        Raises:
            UsageError, ConfigError, DataError, MissingError: see `open_inspected`.
        """
        opened = open_inspected(InspectOptions(model=model, device=device))
        self._model, self._encoder, self._tokenizer = opened.model, opened.encoder, opened.tokenizer
        self._relevance, self._name = relevance, model
        self._longest = relevance.room(opened.model.config.max_position_embeddings)
        relevance.check(opened.model.config.vocab_size, model)

    def rank(self, query: str, found: Sequence[Hit]) -> list[Hit]:
        """The same passages, the best first; of equal ones the one that was first.

        A passage that does not fit into what the model reads at once is cut at its end.

        Raises:
            DataError: the query leaves no room for a passage, or the template has no roles for both.
        """
        if not found:
            return []
        rows = [self._row(query, one) for one in found]
        reading = HiddenSums(self._model, rows, [len(row) - 1 for row in rows], most=PASS_TOKENS)
        while not reading.step():
            pass
        scores = self._scores(reading.sums)
        best = torch.argsort(scores, descending=True, stable=True).tolist()
        told = list(map(self._relevance.told, scores.tolist()))
        return [msgspec.structs.replace(found[place], score=told[place]) for place in best]

    def _scores(self, hidden: NDArray[np.float64]) -> Tensor:
        """(N,) from the hidden states (N, D) of each pair's last token."""
        weight = self._model.model.embed_tokens.weight
        states = torch.from_numpy(hidden).to(weight.device, weight.dtype)
        tokens = list(self._relevance.tokens)
        with torch.no_grad():
            parts = [self._model.logits(part)[:, tokens] for part in states.split(_PAIRS)]
        logits = torch.cat(parts).double()
        return logits[:, 0] - logits[:, 1:].sum(1)

    def _row(self, query: str, passage: Hit) -> list[int]:
        text = f"{passage.heading}\n{passage.text}" if passage.heading else passage.text
        ids = self._pair(query, text)
        while len(ids) > self._longest:
            kept = self._encoder.encode(text, special=False)[: self._longest - len(ids)]
            text = self._tokenizer.decode(kept).rstrip(HALF_CHARACTER)
            if not text:
                raise DataError(
                    f"a query of {len(query):,} characters, and the model {self._name} reads "
                    f"{self._longest:,} tokens at once",
                    hint="leave --rerank out, or name a model with a longer context",
                )
            ids = self._pair(query, text)
        return ids

    def _pair(self, query: str, text: str) -> list[int]:
        told = self._relevance.messages(query, text)
        rendered = self._encoder.render(told, **self._relevance.rendering)
        if not self._relevance.has_both(rendered, query, text):
            raise DataError(
                f"{self._name}: the chat template has no place for a query and a document",
                hint="the chat_template.jinja that came with its modules.json",
            )
        return self._encoder.encode_rendered(rendered)
