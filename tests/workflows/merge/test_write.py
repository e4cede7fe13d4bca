"""A folder written group by group is the folder that the whole model is saved as."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from llmkit.errors import DataError
from llmkit.quant.workers import Workers
from llmkit.workflows.merge.write import plan_folder, write_folder
from tests.workflows.merging import FAMILIES, write_models


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("most", [10**9, 9000])
def test_the_files_hold_what_saving_the_model_gives(family: str, most: int, tmp_path: Path) -> None:
    model = write_models(tmp_path, "one", **FAMILIES[family])[0]
    ours = model.state_dict()
    shapes = {name: tuple(one.shape) for name, one in ours.items()}
    plan = plan_folder(model.config, shapes, torch.float32, most)
    (tmp_path / "out").mkdir()
    with Workers(2) as workers:
        write_folder(plan, tmp_path / "out", lambda names: {name: ours[name] for name in names}, workers, 2)
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    assert len(files) == len(plan.shards) and (len(files) == 1) == (most == 10**9)
    written = {name: one for file in files for name, one in load_file(file).items()}
    saved = load_file(tmp_path / "one/model.safetensors")
    assert written.keys() == saved.keys() and all(torch.equal(written[name], saved[name]) for name in saved)
    assert plan.nbytes == sum(one.nbytes for one in saved.values())
    assert all(sum(one.nbytes for one in shard) <= most or len(shard) == 1 for shard in plan.shards)


def test_each_group_is_made_once_and_no_further_ahead_than_there_are_threads(tmp_path: Path) -> None:
    model = write_models(tmp_path, "one", **FAMILIES["mixtral"])[0]
    ours = model.state_dict()
    shapes = {name: tuple(one.shape) for name, one in ours.items()}
    plan = plan_folder(model.config, shapes, torch.float32, 10**9)
    made: list[str] = []

    def make(names: Sequence[str]) -> Mapping[str, torch.Tensor]:
        made.extend(names)
        return {name: ours[name] for name in names}

    (tmp_path / "out").mkdir()
    with Workers(1) as workers:
        write_folder(plan, tmp_path / "out", make, workers, 1)
    assert made == list(ours)


def test_a_number_beyond_float16_is_named(tmp_path: Path) -> None:
    model = write_models(tmp_path, "one")[0]
    shapes = {name: tuple(one.shape) for name, one in model.state_dict().items()}
    plan = plan_folder(model.config, shapes, torch.float16, 10**9)
    with Workers(1) as workers, pytest.raises(DataError, match=r"embed_tokens.weight becomes 70000, beyond"):
        write_folder(
            plan, tmp_path, lambda names: {name: torch.full(shapes[name], 7e4) for name in names}, workers, 1
        )
