"""What falls due in a run: checkpoints in the right order of writes, scores and samples as they should be."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from llmkit.formats.checkpoint import list_checkpoints
from llmkit.model.config import ModelConfig
from llmkit.progress import SILENT
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.config import PretrainConfig
from llmkit.train.metrics import Cost, RunLog
from llmkit.train.trainer import Trainer
from llmkit.workflows.pretrain_data import PretrainData
from llmkit.workflows.pretrain_job import Job, PretrainFiles
from llmkit.workflows.pretrain_model import ModelSource, build_model
from llmkit.workflows.run_duties import Saver, build_duties, inside
from llmkit.workflows.run_folder import REPLACED
from llmkit.workflows.run_sample import sample
from llmkit.workflows.run_setup import set_up

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


@pytest.fixture
def make_bench(make_data: Callable[..., PretrainData], tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """A run of four updates in `tmp_path/run`."""
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


def _names(bench: Bench) -> list[str]:
    return [folder.name for folder in list_checkpoints(bench.out)[0]]


def test_a_step_is_saved_once_and_told_once(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    bench.saver()  # nothing was learnt yet
    assert not (bench.out / "checkpoints").exists() and bench.writer.records == []
    bench.trainer.train_step()
    bench.saver()
    bench.saver()
    assert (_names(bench), bench.saver.last_step) == (["step-00000001"], 1)
    (record,) = bench.writer.records
    assert (record["event"], record["step"], record["path"]) == (
        *("checkpoint", 1, "checkpoints/step-00000001"),
    )
    assert record["write_seconds"] >= 0


def test_metrics_are_on_the_disk_before_the_checkpoint_that_goes_on_from_them(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench()
    for _ in range(2):
        bench.trainer.train_step()
        bench.saver()
    assert bench.writer.synced == [[], ["step-00000001"]]


def test_the_run_folder_follows_the_newest_checkpoint_and_old_ones_go(
    make_bench: Callable[..., Bench], byte_tokenizer: Tokenizer
) -> None:
    bench = make_bench(keep=2)
    byte_tokenizer.save(bench.out)
    for _ in range(4):
        bench.trainer.train_step()
        bench.saver()
    assert _names(bench) == ["step-00000003", "step-00000004"]
    newest = bench.out / "checkpoints" / "step-00000004"
    for name in ("model.safetensors", "config.json", "generation_config.json", "tokenizer.json"):
        assert (bench.out / name).samefile(newest / name)
    assert json.loads((newest / "state.json").read_text())["trainer"]["step"] == 4


def test_the_run_that_was_set_aside_goes_with_the_first_checkpoint(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    (bench.out / REPLACED).mkdir()
    (bench.out / REPLACED / "model.safetensors").write_text("old")
    bench.trainer.train_step()
    bench.saver()
    assert not (bench.out / REPLACED).exists()
    assert (bench.out / "model.safetensors").read_bytes() != b"old"


def test_a_small_checkpoint_is_written_at_once_and_a_large_one_not(make_bench: Callable[..., Bench]) -> None:
    assert make_bench().saver.is_quick()
    # 12 bytes a parameter: 64 MiB are about 5.6 million
    large = ModelConfig(
        vocab_size=259, hidden_size=1024, intermediate_size=1024, num_hidden_layers=1, num_attention_heads=8
    )
    assert not make_bench(model=large).saver.is_quick()


def test_duties_are_as_often_as_asked_and_absent_without_what_they_need(
    make_bench: Callable[..., Bench], make_data: Callable[..., PretrainData], byte_tokenizer: Tokenizer
) -> None:
    bench = make_bench()
    duties = build_duties(bench.job, bench.trainer, bench.saver)
    assert (duties.evaluate, duties.sample, duties.sample_every) == (None, None, 0)
    assert (duties.checkpoint_every, duties.save) == (1, bench.saver)  # a tenth of four steps
    bench = make_bench(
        valid=make_data(vocab=259), tokenizer=byte_tokenizer, eval_every=3, sample_every=2, checkpoint_every=4
    )
    duties = build_duties(bench.job, bench.trainer, bench.saver)
    assert (duties.eval_every, duties.sample_every, duties.checkpoint_every) == (3, 2, 4)
    assert duties.evaluate is not None and duties.sample is not None
    assert duties.can_save_at_once()


def test_a_score_is_torchs_mean_loss_over_the_validation_rows(
    make_bench: Callable[..., Bench], make_data: Callable[..., PretrainData], byte_tokenizer: Tokenizer
) -> None:
    valid = make_data(count=7, vocab=256)
    bench = make_bench(valid=valid, tokenizer=byte_tokenizer, eval_rows=5)
    evaluate = build_duties(bench.job, bench.trainer, bench.saver).evaluate
    assert evaluate is not None
    called: list[bool] = []
    found = evaluate(lambda: called.append(True))
    tokens = torch.from_numpy(valid.rows.read(np.arange(5)).tokens.astype(np.int64))
    with torch.no_grad():
        logits = bench.trainer.model(tokens[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).item()
    assert found.loss == pytest.approx(loss, rel=1e-5)
    assert found.tokens == 5 * 8 and called
    assert found.bits_per_byte == pytest.approx(loss / math.log(2), rel=1e-5)  # a token is a byte


def test_samples_go_on_from_every_prompt_by_a_seed_of_their_own_at_each_step(
    make_bench: Callable[..., Bench], byte_tokenizer: Tokenizer
) -> None:
    bench = make_bench(
        tokenizer=byte_tokenizer, sample_every=1, sample_tokens=9, seed=40, prompts=("ab", "c")
    )
    write = build_duties(bench.job, bench.trainer, bench.saver).sample
    assert write is not None
    expected = {
        step: [
            (
                prompt,
                sample(
                    bench.trainer.model, byte_tokenizer, prompt, tokens=9, temperature=0.8, seed=40 + step
                ),
            )
            for prompt in ("ab", "c")
        ]
        for step in (1, 2)
    }
    assert {step: write(step) for step in (1, 2)} == expected
    assert expected[1] != expected[2]


def test_a_path_is_told_as_seen_from_the_run(tmp_path: Path) -> None:
    assert inside(tmp_path / "checkpoints" / "step-1", tmp_path) == "checkpoints/step-1"
    with pytest.raises(ValueError, match="is not in the subpath"):
        inside(Path("/elsewhere"), tmp_path)
