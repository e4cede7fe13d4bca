"""What a merge decides before any work: whose config and tokenizer, which weights, which bytes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.errors import ResourceError
from llmkit.formats.provenance import Invocation
from llmkit.workflows.merge.job import MergeJob, open_merge
from llmkit.workflows.merge.options import MergeConfig
from tests.workflows.merging import write_models


def _open(place: Path, **options: Any) -> MergeJob:
    return open_merge(MergeConfig(**options), place / "out", force=False, invocation=Invocation("merge"))


def test_the_base_leads_where_there_is_one_and_else_the_first(tmp_path: Path) -> None:
    write_models(tmp_path, "one", "two", "zero")
    one, two, zero = (str(tmp_path / name) for name in ("one", "two", "zero"))
    assert _open(tmp_path, models=(one, two), method="linear").first.path == Path(one)
    assert _open(tmp_path, models=(one, two), method="task", base=Path(zero)).first.path == Path(zero)
    named = _open(tmp_path, models=(f"a={one}", f"base={zero}"), expression="a - base")
    assert (named.first.path, named.weights) == (Path(zero), (1.0, -1.0))


def test_the_report_has_each_models_weight_and_density(tmp_path: Path) -> None:
    write_models(tmp_path, "one", "two", "zero")
    models = (str(tmp_path / "one"), str(tmp_path / "two"))
    ties = _open(
        tmp_path,
        models=models,
        method="ties",
        base=tmp_path / "zero",
        weights=(1.0, 2.0),
        densities=(0.1, 0.2),
    )
    rows = [(one.name, one.weight, one.density) for one in ties.report().models]
    assert rows == [("base", None, None), ("model 1", 1.0, 0.1), ("model 2", 2.0, 0.2)]
    slerp = _open(tmp_path, models=models, method="slerp", weights=(0.25,))
    assert [one.weight for one in slerp.report().models] == [0.75, 0.25]


def test_memory_grows_with_models_and_threads(tmp_path: Path) -> None:
    write_models(tmp_path, "one", "two")
    models = (str(tmp_path / "one"), str(tmp_path / "two"))
    one, two = (_open(tmp_path, models=models, method="linear", threads=count).report() for count in (1, 2))
    assert one.memory_bytes == 4 * 48 * 32 * (2 + 2) and two.memory_bytes == 2 * one.memory_bytes


def test_threads_are_as_many_as_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_models(tmp_path, "one", "two")
    models = (str(tmp_path / "one"), str(tmp_path / "two"))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert _open(tmp_path, models=models, method="linear").threads == 3
    assert _open(tmp_path, models=models, method="linear", threads=2).threads == 2


def test_the_dtype_is_the_first_models_unless_it_is_named(tmp_path: Path) -> None:
    write_models(tmp_path, "one", "two")
    models = (str(tmp_path / "one"), str(tmp_path / "two"))
    assert _open(tmp_path, models=models, method="linear").dtype == torch.float32
    half = _open(tmp_path, models=models, method="linear", dtype="float16")
    assert half.report().size_bytes * 2 == _open(tmp_path, models=models, method="linear").report().size_bytes


def test_a_full_disk_is_found_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_models(tmp_path, "one", "two")
    monkeypatch.setattr("llmkit.machine.free_bytes", lambda path: 1000)
    with pytest.raises(ResourceError, match=r"found 1,000 free"):
        _open(tmp_path, models=(str(tmp_path / "one"), str(tmp_path / "two")), method="linear")
