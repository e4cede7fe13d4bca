"""A run of four updates with its trainer, a log and a saver, in a folder of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmkit.formats.checkpoint import list_checkpoints
from llmkit.model.config import ModelConfig
from llmkit.progress import SILENT
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.config import PretrainConfig
from llmkit.train.metrics import Cost, RunLog
from llmkit.train.trainer import Trainer
from llmkit.workflows.pretrain.data import PretrainData
from llmkit.workflows.pretrain.job import Job, PretrainFiles
from llmkit.workflows.pretrain.model import ModelSource, build_model
from llmkit.workflows.run.saver import Saver
from llmkit.workflows.run.setup import set_up

MODEL = ModelConfig(
    **{"vocab_size": 259, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1},
    **{"num_attention_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.3},
)


class Writer:
    """A metrics file that notes which checkpoints there were whenever it was synced."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.records: list[dict[str, Any]] = []
        self.synced: list[list[str]] = []

    def write(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    def sync(self) -> None:
        self.synced.append([folder.name for folder in list_checkpoints(self.out)[0]])

    def take_back(self, step: int) -> list[dict[str, Any]]:
        undone = [one for one in self.records if one["step"] > step]
        self.records = [one for one in self.records if one["step"] <= step]
        return undone


class Bench:
    """A job, its trainer, a log and a saver."""

    def __init__(self, job: Job, last_step: int = 0) -> None:
        job.files.out.mkdir(exist_ok=True)
        self.job = job
        self.out = job.files.out
        setup = job.setup
        model = build_model(job.source, 0, setup.device)
        self.trainer = Trainer(model, job.data.rows, setup.recipe, micro_batch_rows=setup.micro_batch_rows)
        self.writer = Writer(self.out)
        self.log = RunLog(
            [self.writer.write], SILENT, Cost(1.0, 1.0), steps=4, seconds_before=0.0, memory_bytes=lambda: 1
        )
        self.saver = Saver(job, self.trainer, self.log, [self.writer], threads=1, last_step=last_step)  # type: ignore[list-item]


@contextmanager
def bench_maker(make_data: Callable[..., PretrainData], tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes runs of four updates in `tmp_path/run`."""
    made: list[Bench] = []

    def make(
        *,
        valid: PretrainData | None = None,
        tokenizer: Tokenizer | None = None,
        prompts: tuple[str, ...] = ("",),
        model: ModelConfig = MODEL,
        **config: Any,
    ) -> Bench:
        data, settings = make_data(vocab=259), PretrainConfig(device="cpu", steps=4, batch_rows=4, **config)
        files = PretrainFiles(data=(), out=tmp_path / "run", prompts=prompts)
        source = ModelSource(model, None, None)
        setup = set_up(settings, model, data, None)
        made.append(Bench(Job(files, settings, tokenizer, data, valid, source, setup)))
        return made[-1]

    yield make
    for bench in made:
        bench.trainer.close()
