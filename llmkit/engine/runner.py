"""One pass of the model over the tokens that the scheduler planned.

Shapes: R rows of scores, V vocab_size.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from llmkit.engine.adapter_torch import ModuleAdditions
from llmkit.engine.adapter_values import Adapter, AdapterRunner
from llmkit.engine.parallel.ranks import ranks_of
from llmkit.engine.scheduler import Work
from llmkit.engine.step import FlatStep, is_flat
from llmkit.engine.store import KVStore, PagedCache, PagedSpan
from llmkit.model.transformer import Transformer


class PassRunner(AdapterRunner, Protocol):
    """Computes what is planned."""

    def run(self, works: Sequence[Work]) -> list[Tensor | None]:
        """Compute what is planned.

        Returns:
            For each text whose every token is computed now the scores (R, V) after its last known token and
            after each draft, float32 on the CPU; None for the others.
        """


class Runner:
    """Runs a model's modules, and holds the memory of its keys and values."""

    kernels = "torch"

    def __init__(
        self, model: Transformer, store: KVStore, score: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        """
        Args:
            model: in evaluation mode.
            store: memory of keys and values.
            score: what becomes of hidden states (R, D) after the last norm; None: the model's own scores.
        """
        self._model = model
        self._store = store
        self._score = score or model.logits
        own_dtype = store.dtype == model.model.embed_tokens.weight.dtype
        is_plain = score is None and own_dtype and is_flat(model.config) and ranks_of(model) is None
        self._flat = FlatStep(model) if is_plain else None
        self._additions = ModuleAdditions(model)

    def add_adapter(self, adapter: Adapter) -> None:
        """See `AdapterRunner`."""
        self._additions.add_adapter(adapter)

    def remove_adapter(self, adapter: Adapter) -> None:
        """Nothing: no text names it."""

    @torch.inference_mode()
    def run(self, works: Sequence[Work]) -> list[Tensor | None]:
        """See `PassRunner`."""
        spans = paged_spans(works)
        if self._flat is not None and len(works) == 1 and _is_step(works[0]):
            rows = self._store.rows(spans[0])
            if isinstance(rows, slice):
                work = works[0]
                scores = self._flat(work.text.tokens[work.start], work.start, rows.start, self._store.layers)
                return [_on_cpu(scores)[None]]
        device = self._store.layers[0][0].device
        ids = torch.tensor([[one for work in works for one in known_ids(work)]], device=device)
        with self._additions.of([(work.text.adapter, work.count) for work in works]):
            hidden = self._model.hidden(ids, cache=PagedCache(self._store, spans))[0]
        wanted = scored_rows(works, spans)
        rows_of_all = [row for rows in wanted for row in rows]
        if not rows_of_all:
            return [None] * len(works)
        scores = _on_cpu(self._score(hidden[rows_of_all]))
        parts = iter(scores.split([len(rows) for rows in wanted]))
        return [part if len(part) else None for part in parts]


def known_ids(work: Work) -> list[int]:
    """The tokens of a text that go through the model: known ones, then drafts."""
    known = work.text.tokens[work.start : work.start + work.count - work.num_drafts]
    return known + work.text.drafts[: work.num_drafts]


def paged_spans(works: Sequence[Work]) -> list[PagedSpan]:
    """Where the new positions of a pass stand."""
    spans = []
    first = 0
    for work in works:
        table = tuple(block.index for block in work.text.table)
        spans.append(PagedSpan(work.start, work.count, len(work.text.tokens), first, table))
        first += work.count
    return spans


def scored_rows(works: Sequence[Work], spans: Sequence[PagedSpan]) -> list[range]:
    """Which of all new positions are scored, text by text: the last known one and the drafts behind it."""
    return [
        range(span.first + span.count - 1 - work.num_drafts, span.first + span.count)
        if work.completes
        else range(0)
        for work, span in zip(works, spans, strict=True)
    ]


def _is_step(work: Work) -> bool:
    """Whether one more token goes through the base alone."""
    return work.count == 1 and work.completes and work.text.adapter is None


def _on_cpu(scores: Tensor) -> Tensor:
    """Scores where and as they are drawn from."""
    return scores.float().cpu()
