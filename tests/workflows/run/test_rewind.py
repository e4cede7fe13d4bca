"""Going back from spikes: to which weights, and the same ones however the run is stopped in between."""

import json
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from llmkit.errors import DataError, LlmkitError, StoppedResumable
from llmkit.formats.checkpoint import list_checkpoints, step_of
from llmkit.formats.provenance import Invocation
from llmkit.model.config import ModelConfig
from llmkit.progress import SILENT
from llmkit.train.config import PretrainConfig
from llmkit.train.loss import Batch, build_batch
from llmkit.train.objective import BatchSource
from llmkit.train.order import RowOrder
from llmkit.train.state import load_weights, restore_trainer
from llmkit.train.stop import StopRequest
from llmkit.train.trainer import Trainer
from llmkit.workflows.doctor.run import check_metrics
from llmkit.workflows.pretrain.job import Job, PretrainFiles
from llmkit.workflows.pretrain.model import ModelSource, build_model
from llmkit.workflows.run.duties import build_duties
from llmkit.workflows.run.folder import Start, find_start
from llmkit.workflows.run.setup import set_up
from llmkit.workflows.run.training import run_training
from llmkit.workflows.show.metrics import read_metrics

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

    def __init__(self, out: Path, data: Any, bad: Iterable[int], **config: Any) -> None:
        settings = {"steps": 12, "batch_rows": 4, "checkpoint_every": 4, "threads": 1, "on_spike": "rewind"}
        self.config = PretrainConfig(device="cpu", **settings | config)  # type: ignore[arg-type]
        self.out, self.data, self.bad = out, data, set(bad)
        self.setup = set_up(self.config, MODEL, data, None)

    def trainer(self, source: BatchSource | None = None) -> Trainer:
        model = build_model(ModelSource(MODEL, None, None), 0, torch.device("cpu"))
        recipe = self.setup.recipe
        return Trainer(
            model, self.data.rows, recipe, micro_batch_rows=4, source=source, on_spike=self.config.on_spike
        )

    def go(self, *, kill_at: int | None = None, stop_at: int | None = None) -> dict[str, Tensor]:
        """Start or go on; `kill_at` and `stop_at` count the updates that this call tries, spikes too."""
        self.out.mkdir(exist_ok=True)
        files, source = PretrainFiles(data=(), out=self.out), ModelSource(MODEL, None, None)
        job = Job(files, self.config, None, self.data, None, source, self.setup)
        stop, tried = StopRequest(), [0]

        def build(job: Job, start: Start) -> Trainer:
            trainer = self.trainer()
            if start.checkpoint is not None and start.state is not None:
                trainer.model.load_state_dict(load_weights(start.checkpoint, trainer.device).state_dict())
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

        start = find_start(self.out, self.setup.recipe, resume="auto", force=False, progress=SILENT)
        how: Any = {"build_trainer": build, "duties_of": build_duties, "finish": lambda ended: ended}
        ended: Any = run_training(job, start, stop, Invocation("pretrain"), SILENT, **how)
        return {name: tensor.clone() for name, tensor in ended.trainer.model.state_dict().items()}

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = (self.out / "metrics.jsonl").read_text().splitlines()
        return [record for record in map(json.loads, lines) if record.get("event") == name]


@pytest.fixture
def make_bench(make_data: Callable[..., Any], tmp_path: Path) -> Callable[..., Bench]:
    def make(name: str = "run", *, bad: Iterable[int], **config: Any) -> Bench:
        return Bench(tmp_path / name, make_data(), bad, **config)

    return make


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def twin(bench: Bench, places: list[tuple[int, int]]) -> dict[str, Tensor]:
    """Weights of a plain run over batches from certain places of the order."""
    trainer = bench.trainer(Listed(bench.data.rows, places))
    for _ in places:
        trainer.train_step()
    return trainer.model.state_dict()


def test_the_weights_are_those_of_a_run_that_never_saw_the_batches_since_the_checkpoint(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(bad=[6 * 4])  # the seventh update; checkpoints are at 4 and 8
    found = bench.go()
    begins = [*range(0, 4), *range(7, 15)]
    assert same(found, twin(bench, [(4 * begin, 4) for begin in begins]))
    (told,) = bench.events("rewind")
    assert (told["step"], told["spike_step"], told["passed_rows"], told["rewinds"]) == (4, 7, 12, 1)
    assert check_metrics(bench.out, read_metrics(bench.out / "metrics.jsonl")) == []


def test_a_spike_before_the_first_checkpoint_takes_the_run_to_its_start(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(bad=[2 * 4, 4 * 4])
    assert same(bench.go(), twin(bench, [(4 * begin, 4) for begin in range(5, 17)]))
    assert [told["step"] for told in bench.events("rewind")] == [0, 0]


@pytest.mark.parametrize("way", ["kill_at", "stop_at"])
def test_wherever_it_is_stopped_the_same_line_comes_to_the_same_weights(
    make_bench: Callable[..., Bench], way: str
) -> None:
    bad = [6 * 4, 10 * 4]  # the second comes after going back from the first
    straight = make_bench("straight", bad=bad, keep=1)
    expected = straight.go()
    assert [told["spike_step"] for told in straight.events("rewind")] == [7, 8]
    for at in range(2, 17, 3):
        bench = make_bench(f"{way}-{at}", bad=bad, keep=1)
        with pytest.raises((Killed, StoppedResumable)):
            bench.go(**{way: at})
        assert same(bench.go(), expected), at
        last = list_checkpoints(bench.out)[0][-1]
        mine = json.loads((last / "state.json").read_text())["trainer"]
        theirs = json.loads((list_checkpoints(straight.out)[0][-1] / "state.json").read_text())["trainer"]
        assert mine == theirs


def test_checkpoints_of_what_was_undone_count_no_more_and_the_one_to_go_back_to_is_kept(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(bad=[6 * 4], keep=1)
    with pytest.raises(StoppedResumable):
        bench.go(stop_at=6)  # leaves step 6, from which the spike is near
    assert [step_of(one) for one in list_checkpoints(bench.out)[0]] == [4, 6]
    with pytest.raises(Killed):
        bench.go(kill_at=2)  # the spike was the first
    assert [step_of(one) for one in list_checkpoints(bench.out)[0]] == [4]


def test_after_so_many_times_a_spike_ends_the_run(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(bad=[6 * 4, 7 * 4, 8 * 4], max_rewinds=2)
    with pytest.raises(
        LlmkitError, match=r"step 5: .* is a spike .* after 2 that the run went back from"
    ) as caught:
        bench.go()
    assert "--max-rewinds 4 or --on-spike skip" in caught.value.hint
    assert len(bench.events("rewind")) == 2


def test_a_damaged_checkpoint_is_not_gone_back_to(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(bad=[6 * 4])
    with pytest.raises(Killed):
        bench.go(kill_at=6)
    (folder,) = list_checkpoints(bench.out)[0]
    trainer_file = folder / "optimizer.safetensors"
    content = trainer_file.read_bytes()

    original = bench.trainer

    def harmed(source: BatchSource | None = None) -> Trainer:
        trainer = original(source)
        learn = trainer.train_step

        def train_step() -> Any:
            trainer_file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            return learn()

        trainer.train_step = train_step  # type: ignore[method-assign]
        return trainer

    bench.trainer = harmed  # type: ignore[method-assign]
    with pytest.raises(DataError, match="is damaged"):
        bench.go()


def test_batches_that_grow_are_passed_over_by_their_rows(make_bench: Callable[..., Bench]) -> None:
    # rows of updates: 1 1 2 2 3 3 4 4 ...; before the seventh there are 12, before the fifth 6
    bench = make_bench(bad=[12], batch_ramp="1:6")
    recipe = bench.setup.recipe
    rows = [recipe.rows_of(step) for step in range(12)]
    assert rows == [1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 4, 4]
    found = bench.go()
    begins = np.cumsum([0, *rows]).tolist()
    places = [(begins[step] + (10 if step >= 4 else 0), rows[step]) for step in range(12)]  # 16 - 6
    assert same(found, twin(bench, places))


def test_a_run_goes_back_to_a_checkpoint_that_is_still_being_written(
    make_bench: Callable[..., Bench],
) -> None:
    bad = [4 * 4, 10 * 4]  # right after the checkpoint at 4
    expected = make_bench("plain", bad=bad).go()
    bench = make_bench("beside", bad=bad, async_checkpoint=True)
    assert same(bench.go(), expected)
    assert [told["step"] for told in bench.events("rewind")] == [4, 8]
    assert [told["step"] for told in bench.events("checkpoint")] == [4, 8, 12]
