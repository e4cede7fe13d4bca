"""A run in which some batches count as spikes."""

import json
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llmkit.formats.provenance import Invocation
from llmkit.model.config import ModelConfig
from llmkit.progress import SILENT
from llmkit.train.config import PretrainConfig
from llmkit.train.loss import Batch, build_batch
from llmkit.train.objective import BatchSource
from llmkit.train.order import RowOrder
from llmkit.train.parallel.divided import Divided
from llmkit.train.parallel.ranks import ALONE, Ranks
from llmkit.train.rewind import put_weights
from llmkit.train.state import load_weights, restore_trainer
from llmkit.train.stop import StopRequest
from llmkit.train.trainer import Trainer
from llmkit.workflows.pretrain.job import Job, PretrainFiles
from llmkit.workflows.pretrain.model import ModelSource, build_model
from llmkit.workflows.run.duties import build_duties
from llmkit.workflows.run.folder import Start, find_start
from llmkit.workflows.run.setup import set_up
from llmkit.workflows.run.training import run_training

MODEL = ModelConfig(
    **{"vocab_size": 48, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1},
    **{"num_attention_heads": 2, "max_position_embeddings": 64},
)


class Killed(BaseException):
    """Nothing is saved, as at a loss of power."""


class Listed(BatchSource):
    """Batches from certain places of the order."""

    def __init__(self, rows: Any, places: Iterable[tuple[int, int]]) -> None:
        order, device = RowOrder(len(rows), 0), torch.device("cpu")
        taken = [rows.read(order.take(*place)) for place in places]
        self._batches = [build_batch(one, document_mask=True, device=device) for one in taken]

    def batch(self, step: int) -> Batch:
        return self._batches[step]


class Bench:
    """A run of twelve updates of four rows, with a checkpoint every four; some batches are spikes.

    Args:
        out: folder of the run.
        data: of 20 rows.
        bad: where in the order the batches begin that count as spikes.
    """

    def __init__(self, out: Path, data: Any, bad: Iterable[int], ranks: Ranks = ALONE, **config: Any) -> None:
        settings = {"steps": 12, "batch_rows": 4, "checkpoint_every": 4, "threads": 1, "on_spike": "rewind"}
        self.config = PretrainConfig(device="cpu", **settings | config)  # type: ignore[arg-type]
        self.out, self.data, self.bad, self.ranks = out, data, set(bad), ranks
        self.setup = set_up(self.config, MODEL, data, None, degrees=ranks.degrees)

    def trainer(self, source: BatchSource | None = None) -> Trainer:
        model = build_model(ModelSource(MODEL, None, None), 0, torch.device("cpu"))
        recipe, divided = self.setup.recipe, Divided(model, self.ranks)
        return Trainer(
            divided, self.data.rows, recipe, micro_batch_rows=4, source=source, on_spike=self.config.on_spike
        )

    def go(self, *, kill_at: int | None = None, stop_at: int | None = None) -> dict[str, Tensor]:
        """Start or go on; `kill_at` and `stop_at` count the updates that this call tries, spikes too."""
        with self.ranks.first():
            self.out.mkdir(exist_ok=True)
            start = find_start(self.out, self.setup.recipe, resume="auto", force=False, progress=SILENT)
        files, source = PretrainFiles(data=(), out=self.out), ModelSource(MODEL, None, None)
        valid = self.data if self.config.eval_every else None
        job = Job(files, self.config, None, self.data, valid, source, self.setup)
        stop, tried = StopRequest(), [0]

        def build(job: Job, start: Start) -> Trainer:
            trainer = self.trainer()
            if start.checkpoint is not None and start.state is not None:
                put_weights(trainer, load_weights(start.checkpoint, trainer.device))
                restore_trainer(trainer, start.checkpoint, start.state)
            judge, learn = trainer.guard.judge, trainer.train_step

            def find_spikes(loss: float, norm: float) -> str | None:
                begin = trainer.recipe.rows_before(trainer.step) + trainer.passed_rows
                return "spike" if begin in self.bad else judge(loss, norm)

            def train_step() -> Any:
                tried[0] += 1
                if tried[0] == kill_at:
                    raise Killed
                if tried[0] == stop_at:
                    signal.raise_signal(signal.SIGTERM)
                return learn()

            trainer.guard.judge = find_spikes  # type: ignore[method-assign]
            trainer.train_step = train_step  # type: ignore[method-assign]
            return trainer

        how: Any = {"build_trainer": build, "duties_of": build_duties, "finish": lambda ended: ended}
        ended: Any = run_training(job, start, stop, Invocation("pretrain"), SILENT, **how)
        return {name: one.clone() for name, one in ended.trainer.divided.whole_tensors().items()}

    def records(self) -> list[dict[str, Any]]:
        """The metrics."""
        return [json.loads(line) for line in (self.out / "metrics.jsonl").read_text().splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Those of one kind."""
        return [record for record in self.records() if record.get("event") == name]
