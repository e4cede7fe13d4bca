"""What processes add up, over gloo."""

import multiprocessing
from datetime import timedelta
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.engine.parallel.group import GroupRanks
from llmkit.model.part import Part

VOCABULARY = 7


def own_scores(index: int) -> torch.Tensor:
    """Columns of a matrix whose numbers say where they are, those of one process."""
    whole = torch.arange(2.0 * VOCABULARY).view(2, VOCABULARY)
    rows = Part(index, 2).rows(VOCABULARY)
    return whole[:, rows.start : rows.stop]


def add_up(index: int, store: Path) -> tuple[torch.Tensor, torch.Tensor]:
    ranks = GroupRanks(Part(index, 2), store, torch.device("cpu"))
    with torch.inference_mode():
        branch = ranks.sum(torch.full((2, 3), index + 1.0, dtype=torch.bfloat16))
        scores = ranks.gathered(own_scores(index), VOCABULARY)
    ranks.close()
    return branch, scores


def join_and_stop(store: Path, joined: Event) -> None:
    """Be there, and never come to a pass."""
    joined.set()
    GroupRanks(Part(1, 2), store, torch.device("cpu"))
    joined.clear()
    joined.wait()


def test_a_process_that_does_not_come_to_a_pass_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    joined = context.Event()
    other = context.Process(target=join_and_stop, args=(tmp_path / "store", joined), daemon=True)
    other.start()
    joined.wait()  # from here on it takes no time to find each other
    ranks = GroupRanks(Part(0, 2), tmp_path / "store", torch.device("cpu"), timedelta(seconds=2))
    with pytest.raises(RuntimeError, match=r"(?i)timed? ?out"):
        ranks.sum(torch.zeros(3))
    other.kill()
    other.join()
    ranks.close()


def test_on_a_cpu_they_wait_for_each_other_longer_than_ctrl_z_holds_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_, **given: told.update(given))
    GroupRanks(Part(0, 2), tmp_path / "store", torch.device("cpu"))
    assert told["timeout"] > timedelta(days=1)


def test_branches_are_summed_and_the_first_has_all_scores_in_order(tmp_path: Path) -> None:
    other = multiprocessing.get_context("spawn").Process(target=add_up, args=(1, tmp_path / "store"))
    other.start()
    branch, scores = add_up(0, tmp_path / "store")
    other.join()
    assert other.exitcode == 0
    assert branch.tolist() == [[3.0] * 3] * 2
    assert scores.flatten().tolist() == [*range(2 * VOCABULARY)]
