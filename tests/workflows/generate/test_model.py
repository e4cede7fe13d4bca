"""Where a model runs and what that takes, beside what it really takes."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.engine.config import GenerateConfig, SamplingConfig
from llmkit.engine.engine import Engine
from llmkit.engine.request import Drawn, Request
from llmkit.errors import ConfigError, ResourceError, UsageError
from llmkit.kernels.library import available
from llmkit.kernels.library import threads as kernel_threads
from llmkit.model.stored_numbers import ARRAY_DTYPES
from llmkit.workflows.generate import model as generate_model
from llmkit.workflows.generate.extent import Extent
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.job import Job, open_job
from llmkit.workflows.generate.model import AT_ONCE, ONE_THREAD_BYTES, place, start_engine

Tiny = Callable[..., Path]
ONE = Extent(rows=1, prompt_tokens=3, positions=9, texts=1)


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
    placement = place(job, ONE)
    engine = start_engine(job, placement)
    assert ARRAY_DTYPES[placement.dtype].itemsize == width
    list(engine.run(Request((1, 2, 3), SamplingConfig(max_tokens=7))))  # 3 + 7 - 1 places: a block
    numbers = 2 * 2 * 1 * 4 * 16  # K and V, layers, heads, E
    assert engine.store.nbytes == placement.kv_bytes == numbers * width
    file = (job.files.model / "model.safetensors").stat().st_size
    assert placement.weight_bytes == pytest.approx(file * width / 4, abs=2500)  # but for the header
    assert placement.memory_bytes > placement.weight_bytes + placement.kv_bytes


@pytest.mark.parametrize(
    ("kv_dtype", "head_bytes"), [("float32", 4 * 4), ("bfloat16", 4 * 2), ("int8", 4 * 1 + 4)]
)
def test_a_cache_in_another_dtype_takes_what_is_predicted(
    tiny_model: Tiny, kv_dtype: str, head_bytes: int
) -> None:
    job = _job(tiny_model(), kv_dtype=kv_dtype)
    placement = place(job, ONE)
    engine = start_engine(job, placement)
    list(engine.run(Request((1, 2, 3), SamplingConfig(max_tokens=7))))
    assert placement.dtype == "float32"
    assert engine.store.kinds[0].dtype == kv_dtype
    assert engine.store.nbytes == placement.kv_bytes == 2 * 2 * 1 * 16 * head_bytes


@pytest.mark.parametrize("extent", [ONE, Extent(rows=4, prompt_tokens=700, positions=800, texts=4), None])
def test_a_window_takes_the_memory_of_a_window(tiny_model: Tiny, extent: Extent | None) -> None:
    sizes = {"model_type": "qwen2", "attention_bias": True, "max_position_embeddings": 1000}
    whole = tiny_model("whole", **sizes)
    sliding = tiny_model("sliding", **sizes, sliding_window=20, sliding_layers=(1,))
    job, other = _job(sliding, batch=4), _job(whole, batch=4)
    placement, wider = place(job, extent), place(other, extent)
    engine = start_engine(job, placement)
    assert placement.positions == wider.positions
    assert engine.store.nbytes == placement.kv_bytes or extent is None
    if extent is not ONE:  # 9 positions are no longer than the window
        assert engine.store.nbytes < 0.75 * start_engine(other, wider).store.nbytes
    assert len(list(engine.run(Request((1, 2, 3), SamplingConfig(max_tokens=7, ignore_eos=True))))) == 7


def test_a_small_model_has_one_thread_and_a_larger_one_all(
    tiny_model: Tiny, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _job(tiny_model())
    assert place(job, ONE).threads == 1
    monkeypatch.setattr(generate_model, "ONE_THREAD_BYTES", 1000)
    assert place(job, ONE).threads == threads
    assert ONE_THREAD_BYTES > 1000
    start_engine(job, place(_job(job.files.model, threads=1), ONE))
    assert kernel_threads() == 1 if available() else torch.get_num_threads() == 1


def test_too_little_memory_is_said_before_the_weights_are_read(
    tiny_model: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate_model, "device_memory_bytes", lambda device: 1000)
    with pytest.raises(ResourceError, match=r"takes about [\d,]+ bytes .*found 1,000 available"):
        place(_job(tiny_model()), ONE)


def test_a_device_that_does_not_exist_is_refused(tiny_model: Tiny) -> None:
    with pytest.raises(ConfigError, match="no such device"):
        place(_job(tiny_model(), device="abacus"), ONE)


def test_the_engine_knows_what_ends_a_text_from_every_source(tiny_model: Tiny, byte_level_dir: Path) -> None:
    folder = tiny_model(vocab_size=600)
    shutil.copy(byte_level_dir / "tokenizer.json", folder)
    shutil.copy(byte_level_dir / "tokenizer_config.json", folder)
    free = Request((1, 2, 3), SamplingConfig(max_tokens=6, temperature=0.0, ignore_eos=True))
    job = _job(folder)
    ids = [token.id for token in start_engine(job, place(job, ONE)).run(free)]
    (folder / "generation_config.json").write_text(f'{{"eos_token_id": [{ids[2]}]}}')
    job = _job(folder)
    ended = Request((1, 2, 3), SamplingConfig(max_tokens=6, temperature=0.0))
    drawn = list(start_engine(job, place(job, ONE)).run(ended))
    assert [token.id for token in drawn] == ids[: ids.index(ids[2]) + 1] and drawn[-1].finish == "stop"


@pytest.mark.parametrize(
    ("flag", "settings"),
    [
        ("yarn:4", {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}),
        ("linear:4", {"type": "linear", "factor": 4.0}),
        (
            '{"type": "yarn", "factor": 4, "beta_fast": 2, "original_max_position_embeddings": 16}',
            {"type": "yarn", "factor": 4, "beta_fast": 2, "original_max_position_embeddings": 16},
        ),
    ],
)
def test_a_scaling_asked_for_is_one_that_config_json_has(
    tiny_model: Tiny, flag: str, settings: dict[str, Any]
) -> None:
    plain, scaled = tiny_model("plain"), tiny_model("scaled")
    config = json.loads((scaled / "config.json").read_text())
    config.update(rope_scaling=settings, rope_parameters=None, max_position_embeddings=128)
    (scaled / "config.json").write_text(json.dumps(config))

    def draw(job: Job) -> list[Drawn]:
        request = Request(tuple(range(1, 41)), SamplingConfig(max_tokens=9, temperature=0.0, logprobs=1))
        return list(
            start_engine(job, place(job, replace(ONE, positions=48))).run(request)
        )  # with log probabilities

    asked = draw(_job(plain, rope_scaling=flag))  # 48 places, and the model itself has 32
    assert asked == draw(_job(scaled))
    assert asked != draw(_job(plain, rope_scaling="linear:2"))


BLOCK = 2 * 2 * 4 * 16 * 4
"""Bytes of a block of 16 places: K and V, layers, head_dim."""


def _memory(monkeypatch: pytest.MonkeyPatch, job: Job, blocks: float) -> None:
    """Let there be room for so many blocks beside torch and the weights."""
    monkeypatch.setattr(generate_model, "device_memory_bytes", lambda device: None)
    fixed = place(job, ONE)
    available = fixed.memory_bytes - fixed.kv_bytes + int(blocks * BLOCK)
    monkeypatch.setattr(generate_model, "device_memory_bytes", lambda device: available)


@pytest.mark.parametrize(
    ("batch", "texts", "expected"), [(None, 3, 3), (None, 99, AT_ONCE), (5, 99, 5), (64, 9, 9)]
)
def test_as_many_texts_are_at_work_as_are_worth_it_or_asked_for_or_there(
    tiny_model: Tiny, batch: int | None, texts: int, expected: int
) -> None:
    placement = place(_job(tiny_model(), batch=batch), replace(ONE, positions=17, texts=texts))
    assert (placement.texts, placement.positions) == (expected, expected * 32)
    assert placement.kv_bytes == expected * 2 * BLOCK


def test_no_row_at_all_is_no_reason_to_have_no_engine(tiny_model: Tiny) -> None:
    placement = place(_job(tiny_model(), batch=4), Extent(0, 0, 0, 0))
    assert (placement.texts, placement.positions) == (1, 16)


@pytest.mark.parametrize("batch", [None, 64])
def test_a_pipe_is_given_what_was_asked_for_and_memory_for_its_longest_texts(
    tiny_model: Tiny, batch: int | None
) -> None:
    placement = place(_job(tiny_model(), batch=batch, sampling={"max_tokens": 5}), None)
    assert placement.texts == (batch or AT_ONCE)
    assert placement.positions == placement.texts * 32  # the whole context, for each of them
    assert placement.kv_bytes == placement.texts * BLOCK  # what max_tokens come to


def test_where_memory_is_short_fewer_texts_are_at_work(
    tiny_model: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _job(tiny_model())
    many = replace(ONE, positions=17, texts=99)
    for blocks, texts in ((64, 16), (63, 15), (8, 2), (2, 1)):  # half of the room, two blocks a text
        _memory(monkeypatch, job, blocks)
        assert place(job, many).texts == texts
    _memory(monkeypatch, job, 1.9)
    with pytest.raises(ResourceError, match="takes about"):
        place(job, many)
    _memory(monkeypatch, job, 31)
    asked = _job(job.files.model, batch=16)
    with pytest.raises(ResourceError, match="takes about") as caught:
        place(asked, many)
    assert "a smaller --batch" in caught.value.hint
    _memory(monkeypatch, job, 32)
    assert place(asked, many).texts == 16


def test_weights_are_rounded_by_the_kernels_and_by_nothing_else(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model(vocab_size=64)
    if not available():
        with pytest.raises(UsageError, match="--weights int8: the native library"):
            _started(folder, weights="int8")
        return
    texts = {name: _started(folder, weights=name) for name in ("stored", "int8", "int4")}
    logprobs = {name: _first_logprob(engine) for name, engine in texts.items()}
    assert len(set(logprobs.values())) == 3
    assert _first_logprob(_started(folder, kernels="torch")) == pytest.approx(logprobs["stored"], abs=1e-4)
    with pytest.raises(UsageError, match="--weights int8 needs the native kernels"):
        _started(folder, kernels="torch", weights="int8")
    with pytest.raises(UsageError, match="--kernels native: the native library does not compute"):
        _started(folder, kernels="native", dtype="float16")


def _started(folder: Path, **settings: Any) -> Engine:
    job = open_job(
        GenerateFiles(model=folder, jsonl=Path("-")), GenerateConfig(sampling={"max_tokens": 2}, **settings)
    )
    return start_engine(job, place(job, None))


def _first_logprob(engine: Engine) -> float:
    drawn, *_ = engine.run(Request((1, 2, 3), SamplingConfig(max_tokens=2, temperature=0.0, logprobs=1)))
    assert drawn.score is not None
    return drawn.score.logprob


def test_the_cache_has_room_for_every_text_in_whole_blocks(tiny_model: Tiny) -> None:
    placement = place(_job(tiny_model(), batch=5), Extent(rows=9, prompt_tokens=90, positions=20, texts=9))
    assert placement.positions == 5 * 32  # a block has 16 positions, and two texts never share one
