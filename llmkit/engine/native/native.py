"""Passes through the native kernels: every layer in one call.

The slow twin is `Runner`. Activations stay float32 between products. What Python does here it does for each
token that is written: lists and few arrays, of which only the tables of blocks grow with a text's length.
Shapes: N new positions of all texts, R rotary_dim.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.block_table import BlockTable
from llmkit.engine.native.store import NativeStore
from llmkit.engine.native.weights import PackedModel
from llmkit.engine.pass_runner import known_ids, parted, state_copies
from llmkit.engine.scheduler import Work
from llmkit.errors import UsageError
from llmkit.kernels.forward import Angles, BranchSum, NewPositions
from llmkit.kernels.forward_adapters import AdapterStructs, AdapterTable
from llmkit.kernels.memory import Floats
from llmkit.model.position_tables import check_room, query_scales

if TYPE_CHECKING:
    from llmkit.engine.adapters.values import Adapter
    from llmkit.engine.parallel.array_ranks import ArrayRanks
    from llmkit.engine.parallel.ranks import Ranks


class NativeRunner:
    """Computes what is planned, in one call of the library a pass."""

    kernels = "native"

    def __init__(
        self, model: PackedModel, store: NativeStore, *, wide: bool = True, gathers: bool = True
    ) -> None:
        """
        Args:
            model: its weights, packed.
            store: memory of keys and values.
            wide: use every thread of the kernels.
            gathers: of a model in parts, whether the processes have parts of the scores.
        """
        self._config = config = model.config
        self._native, self._store = model.native, store
        self._ranks = None if model.ranks is None else _array_ranks(model.ranks)
        self._gathers = gathers
        self._sum = None if self._ranks is None else BranchSum(self._ranks.sum)
        self._rope = model.rope
        self._block = store.block_tokens
        self._wide = wide
        self._kinds = [False] if config.sliding_rope_theta is None else [False, True]
        self._angles, self._num_angles = Angles([]), 0
        self._adapters: dict[Adapter, AdapterStructs] = {}

    def add_adapter(self, adapter: "Adapter") -> None:
        """See `PassRunner`.

        Raises:
            UsageError: it changes what the kernels do not add to.
        """
        from llmkit.engine.adapters.native import native_adapter, why_not_added_natively  # torch

        reason = why_not_added_natively(adapter.additions, self._config)
        if reason is not None:
            raise UsageError(
                f"adapter {adapter.name!r}: the native library {reason}",
                hint="--kernels torch computes it, or llmkit merge makes one model of both",
            )
        self._adapters[adapter] = native_adapter(adapter, self._config)

    def remove_adapter(self, adapter: "Adapter") -> None:
        """See `PassRunner`."""
        del self._adapters[adapter]

    def run(self, works: Sequence[Work]) -> list[Floats | None]:
        """See `PassRunner.run`."""
        ids: list[int] = []
        positions: list[int] = []
        places: list[int] = []
        query_start: list[int] = [0]
        lengths: list[int] = []
        wanted: list[int] = []
        scored: list[int] = []
        for work in works:
            end = work.start + work.count
            ids += known_ids(work)
            positions += range(work.start, end)
            query_start.append(len(ids))
            lengths.append(end)
            scored.append(work.num_drafts + 1 if work.completes else 0)
            wanted += range(len(ids) - scored[-1], len(ids))
        slots = self._slots(works)
        for group in range(self._store.num_groups):
            for work in works:
                self._add_places(places, work.text.tables[group], work.start, work.start + work.count)
        rows, angles = self._angles_of(works, positions, max(lengths))
        logits = self._native.forward(
            NewPositions(
                *(ids, rows, places, query_start, lengths, wanted, slots),
                copies=state_copies(works),
                query_scales=self._query_scales(positions),
            ),
            angles,
            self._store.memory,
            self._block_tables(works, lengths),
            adapters=self._adapters_of(works),
            wide=self._wide,
            branch_sum=self._sum,
        )
        if self._ranks is not None and self._gathers and wanted:
            logits = self._ranks.gathered(logits, self._config.vocab_size)
        if len(works) == 1:
            return [logits if wanted else None]
        return parted(logits, scored)

    def _slots(self, works: Sequence[Work]) -> list[int]:
        """Of each text that of its state, where layers keep one: zeros where it begins."""
        states = self._store.states
        if states is None:
            return []
        slots = []
        for work in works:
            assert work.text.state is not None
            slots.append(work.text.state)
            if not work.start:
                states.begin(work.text.state)
        return slots

    def _adapters_of(self, works: Sequence[Work]) -> AdapterTable | None:
        if not self._adapters:
            return None
        used = (work.text.adapter for work in works)
        return AdapterTable([None if one is None else self._adapters[one] for one in used])

    def _angles_of(self, works: Sequence[Work], positions: list[int], end: int) -> tuple[list[int], Angles]:
        """Of each new position a row of the tables, and the tables; rows of positions that are added."""
        if self._rope is None:
            check_room(self._config, end)
            return positions, self._angles
        if self._rope.depends_on_length:  # tables of this pass alone: each text's own, as long as it is
            texts = [(work.start, work.start + work.count, work.text.length) for work in works]
            tables = []
            for kind in self._kinds:
                parts = [
                    [half[start:end] for half in self._table(max(end, reach), kind)]
                    for start, end, reach in texts
                ]
                cosine, sine = (np.concatenate(halves) for halves in zip(*parts, strict=True))
                tables.append((cosine, sine))
            return list(range(len(positions))), Angles(tables)
        if self._num_angles < end:
            made = [self._table(end, kind) for kind in self._kinds]
            self._angles, self._num_angles = Angles(made), min(len(cosine) for cosine, _ in made)
        return positions, self._angles

    def _query_scales(self, positions: list[int]) -> Floats | None:
        """What queries are multiplied with; None where that is 1 for all, as in most texts of most models."""
        config = self._config
        most = max(positions) + config.query_growth_unrotated
        if not config.query_growth or most < config.query_growth_positions:
            return None
        return query_scales(config, positions)

    def _table(self, end: int, sliding: bool) -> tuple[Floats, Floats]:
        """Cosines and sines of so many positions or more, each (rows, R / 2)."""
        assert self._rope is not None
        return self._rope.table(end, sliding=sliding)

    def _add_places(self, places: list[int], table: BlockTable, start: int, end: int) -> None:
        """Rows of memory that a text's new positions go to, `start` to `end`: block by block."""
        size, at = self._block, start
        while at < end:
            number, inner = divmod(at, size)
            count = min(end - at, size - inner)
            first = table[number].index * size + inner
            places += range(first, first + count)
            at += count

    def _block_tables(self, works: Sequence[Work], lengths: list[int]) -> NDArray[np.int32]:
        """(groups, texts, blocks of the longest); what stands where a text holds none is not read."""
        needed = [-(-length // self._block) for length in lengths]
        groups = self._store.num_groups
        if len(works) == groups == 1:
            return works[0].text.table.numbers[None, None, : needed[0]]
        tables = np.zeros((groups, len(works), max(needed)), np.int32)
        for row, (work, count) in enumerate(zip(works, needed, strict=True)):
            for group, table in enumerate(work.text.tables):
                tables[group, row, :count] = table.numbers[:count]
        return tables


def _array_ranks(ranks: "Ranks") -> "ArrayRanks":
    from llmkit.engine.parallel.array_ranks import ArrayRanks  # torch: a model that is whole needs none

    return ArrayRanks(ranks)
