"""What is checked before any work, and what a dry run says."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from llmkit.errors import ConfigError, MissingError, ResourceError, UsageError
from llmkit.formats.streams import STDIO
from llmkit.tokens.config import TrainTokenizerConfig
from llmkit.workflows.train_tokenizer import plan as train_tokenizer_plan
from llmkit.workflows.train_tokenizer.plan import (
    Room,
    TrainTokenizerSources,
    check_memory,
    check_sources,
    disk_bytes,
    is_sampled,
    plan_train_tokenizer,
)

CONFIG = TrainTokenizerConfig(vocab_size=1000)


@pytest.fixture
def sources(tmp_path: Path) -> TrainTokenizerSources:
    (tmp_path / "a.txt").write_text("some words " * 1000)
    return TrainTokenizerSources(inputs=[tmp_path / "a.txt"], out=tmp_path / "out")


def _with(sources: TrainTokenizerSources, **changes: object) -> TrainTokenizerSources:
    return TrainTokenizerSources(**{**vars(sources), **changes})  # type: ignore[arg-type]


def test_the_room_says_how_much_text_there_is_where_that_is_known(
    sources: TrainTokenizerSources, tmp_path: Path
) -> None:
    assert check_sources(sources, CONFIG).text_bytes == 11_000
    assert check_sources(sources, CONFIG).is_exact
    (tmp_path / "b.jsonl").write_text('{"text": "x"}\n')
    both = check_sources(_with(sources, inputs=[*sources.inputs, tmp_path / "b.jsonl"]), CONFIG)
    assert (both.text_bytes, both.is_exact) == (11_014, False)
    (tmp_path / "c.zst").write_bytes(bytes.fromhex("28b52ffd0058010000"))  # an empty frame
    assert check_sources(_with(sources, inputs=[tmp_path / "c.zst"]), CONFIG).text_bytes is None
    assert check_sources(_with(sources, inputs=[STDIO]), CONFIG).text_bytes is None


@pytest.mark.parametrize(
    ("text_bytes", "max_bytes", "sampled"), [(100, 100, False), (101, 100, True), (None, 100, True)]
)
def test_a_sample_is_held_where_there_may_be_more_text(
    text_bytes: int | None, max_bytes: int, sampled: bool
) -> None:
    config = TrainTokenizerConfig(max_bytes=max_bytes)
    assert is_sampled(Room(text_bytes, True, None), config) is sampled


def test_what_is_wrong_is_found_before_any_work(sources: TrainTokenizerSources, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="nowhere"):
        check_sources(_with(sources, inputs=[tmp_path / "nowhere"]), CONFIG)
    with pytest.raises(MissingError, match="nowhere"):
        check_sources(_with(sources, valid=[tmp_path / "nowhere"]), CONFIG)
    with pytest.raises(UsageError, match="holds the input"):
        check_sources(_with(sources, out=tmp_path, force=True), CONFIG)
    with pytest.raises(UsageError, match="stdin can be read once"):
        check_sources(_with(sources, inputs=[STDIO], valid=[STDIO]), CONFIG)
    with pytest.raises(ConfigError, match="'word'"):
        check_sources(sources, TrainTokenizerConfig(special=("word",)))
    sources.out.mkdir()
    with pytest.raises(UsageError, match="already exists"):
        check_sources(sources, CONFIG)
    check_sources(_with(sources, force=True), CONFIG)


def test_a_disk_without_room_is_found_before_any_work(
    sources: TrainTokenizerSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_tokenizer_plan, "free_bytes", lambda path: disk_bytes(CONFIG) - 1)
    with pytest.raises(ResourceError, match="the disk has"):
        check_sources(sources, CONFIG)
    monkeypatch.setattr(train_tokenizer_plan, "free_bytes", lambda path: disk_bytes(CONFIG))
    check_sources(sources, CONFIG)


def test_memory_that_is_missing_is_named_with_a_sample_that_fits() -> None:
    room = Room(None, True, 10_000_000_000)
    check_memory(10_000_000_000, room, 1)
    check_memory(10**15, Room(None, True, None), 1)
    with pytest.raises(ResourceError, match="about 20,000,000,000 bytes of memory") as caught:
        check_memory(20_000_000_000, room, 1_000_000_000)
    fitting = int(caught.value.hint.removeprefix("train on a sample: --max-bytes ").removesuffix("M"))
    assert 450 < fitting <= 500  # memory grows no faster than text


def test_a_dry_run_of_a_small_text_knows_all_of_it(sources: TrainTokenizerSources) -> None:
    plan = plan_train_tokenizer(sources, CONFIG)
    assert (plan.input_bytes, plan.about_text_bytes, plan.is_sample) == (11_000, 11_000, False)
    assert plan.special_tokens == list(CONFIG.special_tokens)
    assert plan.about_memory_bytes > 0 and plan.disk_bytes < plan.disk_free_bytes
    assert not sources.out.exists()


def test_a_dry_run_says_where_a_sample_will_be_taken(sources: TrainTokenizerSources) -> None:
    plan = plan_train_tokenizer(sources, TrainTokenizerConfig(max_bytes=5_000))
    assert (plan.is_sample, plan.about_text_bytes) == (True, 5_000)


def test_a_dry_run_looks_at_no_more_than_the_beginning(
    sources: TrainTokenizerSources, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(train_tokenizer_plan, "LOOK_BYTES", 1_000)
    (tmp_path / "b.txt").write_bytes(b"\xff")  # never reached
    plan = plan_train_tokenizer(_with(sources, inputs=[*sources.inputs, tmp_path / "b.txt"]), CONFIG)
    assert (plan.is_sample, plan.about_text_bytes) == (False, 11_001)


def test_a_dry_run_of_stdin_knows_its_length_only_if_it_is_short(
    sources: TrainTokenizerSources, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for look, known in ((1_000_000, False), (1_000, None)):
        monkeypatch.setattr(train_tokenizer_plan, "LOOK_BYTES", look)
        with sources.inputs[0].open("rb") as stream:
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
            plan = plan_train_tokenizer(_with(sources, inputs=[STDIO]), CONFIG)
        assert (plan.input_bytes, plan.is_sample) == (None, known)
