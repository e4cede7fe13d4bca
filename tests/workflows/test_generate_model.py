"""Where a model runs and what that takes, beside what it really takes."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.engine.config import GenerateConfig, SamplingConfig
from llmkit.engine.request import Request
from llmkit.errors import ConfigError, ResourceError
from llmkit.workflows import generate_model
from llmkit.workflows.generate_job import GenerateFiles, Job, open_job
from llmkit.workflows.generate_model import ONE_THREAD_BYTES, place, start_engine

Tiny = Callable[..., Path]


@pytest.fixture(autouse=True)
def threads() -> Iterator[int]:
    """The number of threads, put back after a test that changes it."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def _job(folder: Path, **settings: Any) -> Job:
    return open_job(GenerateFiles(model=folder, jsonl=Path("-")), GenerateConfig(**settings))


@pytest.mark.parametrize(("dtype", "width"), [("auto", 4), ("bfloat16", 2), ("float16", 2)])
def test_weights_and_cache_take_what_is_predicted(tiny_model: Tiny, dtype: str, width: int) -> None:
    job = _job(tiny_model(), dtype=dtype)
    placement = place(job, 9)
    engine = start_engine(job, placement)
    assert placement.dtype.itemsize == width
    list(engine.run(Request((1, 2, 3), SamplingConfig(max_tokens=7))))  # 3 + 7 - 1 places
    assert engine.cache_bytes == placement.kv_bytes == 2 * 2 * 1 * 4 * 9 * width  # K and V, layers, heads, E
    file = (job.files.model / "model.safetensors").stat().st_size
    assert placement.weight_bytes == pytest.approx(file * width / 4, abs=2500)  # but for the header
    assert placement.memory_bytes > placement.weight_bytes + placement.kv_bytes


def test_a_small_model_has_one_thread_and_a_larger_one_all(
    tiny_model: Tiny, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _job(tiny_model())
    assert place(job, 4).threads == 1
    monkeypatch.setattr(generate_model, "ONE_THREAD_BYTES", 1000)
    assert place(job, 4).threads == threads
    assert ONE_THREAD_BYTES > 1000
    start_engine(job, place(_job(job.files.model, threads=1), 4))
    assert torch.get_num_threads() == 1


def test_too_little_memory_is_said_before_the_weights_are_read(
    tiny_model: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate_model, "available_memory_bytes", lambda device: 1000)
    with pytest.raises(ResourceError, match=r"takes about [\d,]+ bytes .*found 1,000 available"):
        place(_job(tiny_model()), 4)


def test_a_device_that_does_not_exist_is_refused(tiny_model: Tiny) -> None:
    with pytest.raises(ConfigError, match="no such device"):
        place(_job(tiny_model(), device="abacus"), 4)


def test_the_engine_knows_what_ends_a_text_from_every_source(tiny_model: Tiny, byte_level_dir: Path) -> None:
    folder = tiny_model(vocab_size=600)
    shutil.copy(byte_level_dir / "tokenizer.json", folder)
    shutil.copy(byte_level_dir / "tokenizer_config.json", folder)
    free = Request((1, 2, 3), SamplingConfig(max_tokens=6, temperature=0.0, ignore_eos=True))
    job = _job(folder)
    ids = [token.id for token in start_engine(job, place(job, 9)).run(free)]
    (folder / "generation_config.json").write_text(f'{{"eos_token_id": [{ids[2]}]}}')
    job = _job(folder)
    ended = Request((1, 2, 3), SamplingConfig(max_tokens=6, temperature=0.0))
    drawn = list(start_engine(job, place(job, 9)).run(ended))
    assert [token.id for token in drawn] == ids[: ids.index(ids[2]) + 1] and drawn[-1].finish == "stop"
