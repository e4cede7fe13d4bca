"""Adapters of a served model as folders: those of --adapter, and those that are loaded later."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import MissingError, ResourceError, UsageError
from llmkit.server.adapters import AdapterSpec
from llmkit.workflows.generate import device
from llmkit.workflows.generate.adapter import open_adapters
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.job import Job, open_job
from llmkit.workflows.serve.adapters import served_adapters, specs_of

Make = Callable[..., Path]


@pytest.fixture
def job(tiny_model: Make, tiny_adapter: Make, tmp_path: Path) -> Job:
    config = GenerateConfig(adapters=(f"first={tiny_adapter()}:0.5",))
    return open_job(GenerateFiles(model=tiny_model(), jsonl=tmp_path), config)


def test_a_model_in_parts_gets_none(tiny_model: Make, tiny_adapter: Make, tmp_path: Path) -> None:
    job = open_job(GenerateFiles(model=tiny_model(), jsonl=tmp_path), GenerateConfig(tp=2))
    thread: Any = None
    read = served_adapters(job, thread, "cpu")._read
    assert read is not None
    with pytest.raises(UsageError, match="--tp 2 cuts the model, and no adapter"):
        read(AdapterSpec("b", str(tiny_adapter())))


def test_those_of_the_flag_are_there_from_the_start(job: Job) -> None:
    thread: Any = None
    (spec,) = specs_of(job.adapters)
    assert (spec.name, spec.strength) == ("first", 0.5)
    assert served_adapters(job, thread, "cpu").all() == [(spec, job.adapters.nbytes)]


def test_a_folder_is_read_where_there_is_one_and_memory_for_it(
    job: Job, tiny_adapter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread: Any = None
    read = served_adapters(job, thread, "cpu")._read
    assert read is not None
    folder = tiny_adapter("second")
    assert len(read(AdapterSpec("b", str(folder))).modules) == 4
    with pytest.raises(MissingError, match="no adapter"):
        read(AdapterSpec("b", str(folder / "none")))
    monkeypatch.setattr(device, "device_memory_bytes", lambda device: 10)
    needed = open_adapters([str(folder)]).nbytes
    read = served_adapters(job, thread, "cpu")._read
    assert read is not None
    with pytest.raises(ResourceError, match=f"takes {needed:,} bytes"):
        read(AdapterSpec("b", str(folder)))
