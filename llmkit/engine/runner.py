"""One pass of the model over the tokens that the scheduler planned.

Shapes: R rows of scores, V vocab_size.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from llmkit.engine.adapters.torch_products import ModuleAdditions
from llmkit.engine.adapters.values import Adapter
from llmkit.engine.parallel.ranks import ranks_of
from llmkit.engine.pass_runner import known_ids, parted, state_copies
from llmkit.engine.scheduler import Work
from llmkit.engine.step import FlatStep, is_flat
from llmkit.engine.store import KVStore, PagedCache, PagedSpan
from llmkit.kernels.memory import Floats
from llmkit.model.transformer import Transformer


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
        """See `PassRunner`."""
        self._additions.add_adapter(adapter)

    def remove_adapter(self, adapter: Adapter) -> None:
        """Nothing: no text names it."""

    @torch.inference_mode()
    def run(self, works: Sequence[Work]) -> list[Floats | None]:
        """See `PassRunner`."""
        spans = paged_spans(works)
        if self._flat is not None and len(works) == 1 and _is_step(works[0]):
            rows = self._store.rows(spans[0])
            if isinstance(rows, slice):
                work = works[0]
                scores = self._flat(work.text.tokens[work.start], work.start, rows.start, self._store.layers)
                return [scores_of(scores)[None]]
        device = self._store.device
        ids = torch.tensor([[one for work in works for one in known_ids(work)]], device=device)
        with self._additions.of([(work.text.adapter, work.count) for work in works]):
            hidden = self._model.hidden(ids, cache=PagedCache(self._store, spans, state_copies(works)))[0]
        wanted = scored_rows(works, spans)
        rows_of_all = [row for rows in wanted for row in rows]
        if not rows_of_all:
            return [None] * len(works)
        return parted(scores_of(self._score(hidden[rows_of_all])), [len(rows) for rows in wanted])


def paged_spans(works: Sequence[Work]) -> list[PagedSpan]:
    """Where the new positions of a pass stand."""
    spans = []
    first = 0
    for work in works:
        tables = tuple(table.numbers for table in work.text.tables)
        state = -1 if work.text.state is None else work.text.state
        spans.append(PagedSpan(work.start, work.count, work.text.length, first, tables, state))
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


def scores_of(tensor: Tensor) -> Floats:
    """Scores where and as they are drawn from."""
    scores: Floats = tensor.float().cpu().numpy()
    return scores
