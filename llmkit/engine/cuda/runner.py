"""Passes of a model on a GPU: all texts in one call a layer, decoding replayed, one wait a pass.

It runs on any device: on a CPU its tests hold it against `Runner`, the slow twin.
Shapes: R rows of scores, V vocab_size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from llmkit.engine.adapters.torch_products import ModuleAdditions
from llmkit.engine.adapters.values import Adapter
from llmkit.engine.cuda.attention import GatheredAttention, PagedAttention
from llmkit.engine.cuda.batch import BlockTables, decoding_batch, mixed_batch, upload
from llmkit.engine.cuda.graphs import CudaRecorder, DecodeGraphs, Recorder
from llmkit.engine.cuda.kernel_attention import KernelAttention
from llmkit.engine.cuda.model import PagedModel
from llmkit.engine.cuda.plan import PagePlan, why_not_paged
from llmkit.engine.pass_runner import parted
from llmkit.engine.runner import paged_spans, scored_rows
from llmkit.engine.scheduler import Work
from llmkit.engine.store import KVStore
from llmkit.errors import UsageError
from llmkit.kernels.memory import Floats
from llmkit.model.dtypes import dtype_name
from llmkit.model.position_tables import check_room
from llmkit.model.transformer import Transformer


class CudaRunner:
    """Computes what is planned. The store's last block is its own: no text may have it."""

    kernels = "torch"

    def __init__(
        self,
        model: Transformer,
        store: KVStore,
        plan: PagePlan,
        *,
        max_texts: int,
        attention: PagedAttention | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """
        Args:
            model: in evaluation mode.
            store: memory of keys and values, with one block more than texts may have.
            plan: how passes run.
            max_texts: most of a pass.
            attention: None for the one that the plan names.
            recorder: of graphs; None for CUDA's own, if the plan has graphs.

        Raises:
            UsageError: the store or the model is of a kind that has no pages.
        """
        _check(model, store)
        self._plan = plan
        self._config = model.config
        self._store = store
        self._device = store.layers[0][0].device
        blocks = len(store.layers[0][0]) // store.block_tokens
        columns = max(1, blocks - 1)
        self._tables = BlockTables(max_texts, columns, scratch=blocks - 1, device=self._device)
        if attention is None:
            attention = KernelAttention() if plan.attention == "kernels" else GatheredAttention()
        self._model = PagedModel(model, store, attention)
        self._additions = ModuleAdditions(model)
        if recorder is None and plan.graphs:
            recorder = CudaRecorder(self._device)
        self._graphs = (
            None
            if recorder is None
            else DecodeGraphs(self._decode, recorder, max_texts, columns, self._device)
        )

    def describe(self) -> str:
        """What was chosen for this model and GPU, in one line."""
        return f"{self._device.type}: {self._plan.describe(self._store.block_tokens)}"

    def add_adapter(self, adapter: Adapter) -> None:
        """See `PassRunner`."""
        self._additions.add_adapter(adapter)

    def remove_adapter(self, adapter: Adapter) -> None:
        """Nothing: no text names it."""

    @torch.inference_mode()
    def run(self, works: Sequence[Work]) -> list[Floats | None]:
        """See `PassRunner`."""
        if self._has_added_positions:
            check_room(self._config, max(work.start + work.count for work in works))
        slots = self._tables.slots(works)
        # a graph has the base's products alone
        plain = all(work.count == 1 and work.text.adapter is None for work in works)
        if self._graphs is not None and plain:
            return self._replay(self._graphs, works, slots)
        return self._compute(works, slots)

    @property
    def _has_added_positions(self) -> bool:
        return self._config.position != "rope"

    def _replay(
        self, graphs: DecodeGraphs, works: Sequence[Work], slots: Sequence[int]
    ) -> list[Floats | None]:
        """One token of each text."""
        rows = [
            (work.text.tokens[work.start], work.start, slot) for work, slot in zip(works, slots, strict=True)
        ]
        width = max(work.start // self._store.block_tokens for work in works) + 1
        scores = graphs.run(rows, width)
        if not any(work.completes for work in works):
            return [None] * len(works)
        on_host = _on_host(scores).numpy()
        return [on_host[row : row + 1] if work.completes else None for row, work in enumerate(works)]

    def _decode(self, inputs: Tensor, width: int) -> Tensor:
        batch = decoding_batch(inputs, self._tables.tensor, width, self._store.block_tokens)
        return self._model.scores(self._model.hidden(batch))

    def _compute(self, works: Sequence[Work], slots: Sequence[int]) -> list[Floats | None]:
        """Any number of tokens of each text."""
        order = sorted(range(len(works)), key=lambda number: works[number].count > 1)
        ordered = [works[number] for number in order]
        spans = paged_spans(ordered)
        batch = mixed_batch(
            ordered,
            spans,
            [slots[number] for number in order],
            self._tables.tensor,
            self._store.block_tokens,
        )
        with self._additions.of([(work.text.adapter, work.count) for work in ordered]):
            hidden = self._model.hidden(batch)
        wanted = scored_rows(ordered, spans)
        rows = [row for rows in wanted for row in rows]
        if not rows:
            return [None] * len(works)
        (chosen,) = upload([rows], self._device)
        scores = _on_host(self._model.scores(hidden.index_select(0, chosen))).numpy()
        parts = parted(scores, [len(rows) for rows in wanted])
        return [parts[place] for place in sorted(range(len(order)), key=order.__getitem__)]


def _check(model: Transformer, store: KVStore) -> None:
    missing = why_not_paged(model.config)
    if missing is not None:
        raise UsageError(f"this model does not run in pages: {missing}", hint="use Runner")
    held = store.layers[0]
    if len(held) != 2 or not all(tensor.is_floating_point() for tensor in held):
        kept = dtype_name(held[0].dtype)
        raise UsageError(
            f"keys and values on a GPU are kept as they are computed (found a cache of {kept})",
            hint="leave out the cache's 8 bits, or run on the CPU",
        )


def _on_host(scores: Tensor) -> Tensor:
    """Scores as they are drawn from: the one place of a pass where the CPU waits for the GPU."""
    if scores.device.type == "cpu":
        return scores.clone()  # a recording's output is overwritten by its next replay
    host = torch.empty(scores.shape, dtype=scores.dtype, pin_memory=True)
    host.copy_(scores, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record(torch.cuda.current_stream(scores.device))
    arrived.synchronize()
    return host
