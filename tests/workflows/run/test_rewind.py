"""Going back from spikes: to which weights, and the same ones however the run is stopped in between."""

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from llmkit.errors import DataError, LlmkitError, StoppedResumable
from llmkit.formats.checkpoint import list_checkpoints, step_of
from llmkit.train.objective import BatchSource
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.ranks import MeshRanks
from llmkit.train.trainer import Trainer
from llmkit.workflows.doctor.run import check_metrics
from llmkit.workflows.show.metrics import read_metrics, summarise_metrics
from tests.connected import on_ranks
from tests.workflows.run.rewind_bench import Bench, Killed, Listed
from tests.workflows.small_setup import small_data

__all__ = ["on_ranks"]


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


def test_the_metrics_have_each_step_once_and_what_was_undone_in_its_event(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(bad=[6 * 4, 7 * 4])  # the second is the first batch after going back
    bench.go()
    steps = [one for one in bench.records() if "event" not in one]
    assert [one["step"] for one in steps] == [*range(1, 13)]
    plain = twin_losses(bench, [*range(0, 4), *range(8, 16)])
    assert [one["loss"] for one in steps] == plain
    first, second = bench.events("rewind")
    assert [one["step"] for one in first["undone"]] == [5, 6] and second["undone"] == []
    assert [one["loss"] for one in first["undone"]] == twin_losses(bench, range(6))[4:]
    times = [one["time_seconds"] for one in bench.records()]
    assert all(then <= now for then, now in pairwise(times))
    shown = summarise_metrics(read_metrics(bench.out / "metrics.jsonl"))
    assert [point.loss for point in shown.train] == plain
    assert [(one.step, one.spike_step, one.undone_steps) for one in shown.rewinds] == [(4, 7, 2), (4, 5, 0)]


def twin_losses(bench: Bench, begins: Iterable[int]) -> list[float]:
    """Losses of a plain run over batches from certain places of the order, in batches."""
    places = [(4 * begin, 4) for begin in begins]
    trainer = bench.trainer(Listed(bench.data.rows, places))
    return [trainer.train_step().loss for _ in places]


def test_an_evaluation_that_was_undone_is_made_again_where_the_run_goes_on(
    make_bench: Callable[..., Bench],
) -> None:
    """The seventh update was made, the eighth is a spike; the tenth that is tried is the sixth step again."""
    runs = [make_bench(name, bad=[7 * 4], eval_every=2) for name in ("straight", "stopped")]
    runs[0].go()
    with pytest.raises(StoppedResumable):
        runs[1].go(stop_at=10)
    assert [told["step"] for told in runs[1].events("eval")] == [2, 4]
    runs[1].go()
    losses = [[(told["step"], told["valid_loss"]) for told in run.events("eval")] for run in runs]
    assert losses[0] == losses[1] and [step for step, _ in losses[0]] == [2, 4, 6, 8, 10, 12]


SEVERAL = {"dp": Degrees(dp=2), "fsdp": Degrees(fsdp=2), "tp": Degrees(tp=2)}


def gone_back_on(folder: Path) -> dict[str, dict[str, Any]]:
    """The weights at the end of a run with spikes, in each division of two processes."""
    found = {}
    for name, degrees in SEVERAL.items():
        ranks = MeshRanks(degrees, torch.device("cpu"))
        bench = Bench(folder / name, small_data(), [6 * 4, 10 * 4], ranks)
        weights = bench.go()
        found[name] = {key: one.numpy() for key, one in weights.items() if not one.is_meta}
    return found


def test_several_processes_go_back_to_the_weights_of_one(
    make_bench: Callable[..., Bench], on_ranks: Callable[..., Any], tmp_path: Path
) -> None:
    alone = make_bench("alone", bad=[6 * 4, 10 * 4])
    expected, never = alone.go(), make_bench("never", bad=[]).go()
    first, _ = on_ranks(2, gone_back_on, tmp_path)
    for name in SEVERAL:
        assert first[name].keys() == expected.keys()
        for key, weight in expected.items():
            np.testing.assert_allclose(first[name][key], weight, rtol=1e-4, atol=1e-5, err_msg=name)
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        told = [record for record in map(json.loads, lines)]
        steps = [one["step"] for one in told if "event" not in one]
        assert steps == [*range(1, 13)]
        back = [(one["step"], one["spike_step"]) for one in told if one.get("event") == "rewind"]
        assert back == [(one["step"], one["spike_step"]) for one in alone.events("rewind")]
    apart = max(float((one - never[key]).abs().max()) for key, one in expected.items())
    assert apart > 1e-2  # a run that had not gone back would be seen
