"""The batches of pretraining: rows in the order of its seed, as many at each step as its recipe says."""

import torch

from llmkit.formats.shards import Rows
from llmkit.train.config import Recipe
from llmkit.train.data import BatchReader, RowSource
from llmkit.train.loss import Batch, build_batch
from llmkit.train.objective import BatchSource
from llmkit.train.order import RowOrder
from llmkit.train.parallel.ranks import WHOLE_ROWS, Share
from llmkit.train.parallel.row_cut import cut_rows


class RowBatches(BatchSource):
    """Batches of rows in the order of the seed, read ahead: what this process has of each.

    Args:
        rows: of the run.
        recipe: says their order and how many come at once.
        device: of the batches.
        share: of the rows.
        cut: of the positions of each.
    """

    def __init__(
        self, rows: RowSource, recipe: Recipe, device: torch.device, share: Share, cut: Share = WHOLE_ROWS
    ) -> None:
        order = RowOrder(len(rows), recipe.seed)
        self._recipe = recipe

        def build(rows: Rows) -> Batch:
            return cut_rows(build_batch(rows, document_mask=recipe.document_mask, device=device), cut)

        self._reader = BatchReader(rows, order, self._place, build, share)

    def batch(self, step: int) -> Batch:
        """That of update `step`, the first being 0."""
        return self._reader.read(step)

    def close(self) -> None:
        """Let the reading thread go."""
        self._reader.close()

    def _place(self, step: int) -> tuple[int, int]:
        """Where in the order the rows of an update begin, and how many they are."""
        return self._recipe.rows_before(step) + self.passed_rows, self._recipe.rows_of(step)
