"""What goes into training: all text or a sample of it, and never more than there is memory for."""

import random
from collections.abc import Iterator

import pytest

from llmkit.errors import DataError, ResourceError
from llmkit.progress import SILENT
from llmkit.tokens.config import TrainTokenizerConfig
from llmkit.tokens.reservoir import Part
from llmkit.tokens.training_cost import BASE_BYTES
from llmkit.workflows.train_tokenizer import feed as train_tokenizer_feed
from llmkit.workflows.train_tokenizer.feed import open_feed
from llmkit.workflows.train_tokenizer.plan import Room

CONFIG = TrainTokenizerConfig()


def _parts(count: int = 100) -> list[Part]:
    chance = random.Random(0)
    return [Part("".join(chance.choices("abcdef ", k=100)).encode(), "x") for _ in range(count)]


def _room(text_bytes: int | None, memory_bytes: int | None = None) -> Room:
    return Room(text_bytes, True, memory_bytes)


def test_text_that_is_known_to_fit_goes_straight_through() -> None:
    drawn: list[int] = []

    def parts() -> Iterator[Part]:
        for number, part in enumerate(_parts()):
            drawn.append(number)
            yield part

    feed = open_feed(parts(), CONFIG, _room(10_000), SILENT)
    texts = feed.texts()
    assert next(texts) == _parts()[0].text
    assert (len(drawn), feed.held_bytes, feed.is_sample, feed.expected_bytes) == (1, 0, False, 10_000)
    assert [part.text for part in _parts()[1:]] == list(texts)
    assert (feed.bytes, feed.is_done) == (10_000, True)
    assert feed.memory_bytes > BASE_BYTES


def test_of_more_text_a_sample_is_held_that_no_order_changes() -> None:
    config = TrainTokenizerConfig(max_bytes=2_000)
    samples = set()
    for seed in range(3):
        parts = _parts()
        random.Random(seed).shuffle(parts)
        feed = open_feed(iter(parts), config, _room(10_000), SILENT)
        samples.add(tuple(feed.texts()))
        assert (feed.bytes, feed.is_sample, feed.expected_bytes) == (2_000, True, 2_000)
        assert feed.held_bytes >= 2_000
    assert len(samples) == 1


def test_text_of_unknown_length_is_held_and_all_of_it_used_where_it_fits() -> None:
    feed = open_feed(iter(_parts()), CONFIG, _room(None), SILENT)
    assert sorted(feed.texts()) == sorted(part.text for part in _parts())
    assert not feed.is_sample


def test_too_little_memory_is_found_before_training_begins() -> None:
    feed = open_feed(iter(_parts()), CONFIG, _room(10_000, BASE_BYTES + 1000), SILENT)
    texts = feed.texts()
    with pytest.raises(ResourceError, match="training on 10,000 bytes of this text takes") as caught:
        list(texts)
    assert "--max-bytes" in caught.value.hint
    assert not feed.is_done


def test_it_is_found_on_the_way_from_what_is_still_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_tokenizer_feed, "FIRST_CHECK_BYTES", 1_000)
    feed = open_feed(iter(_parts()), CONFIG, _room(10_000, BASE_BYTES + 1_000_000), SILENT)
    with pytest.raises(ResourceError):
        list(feed.texts())
    assert feed.bytes < 2_500


def test_a_sample_that_does_not_fit_is_found_while_it_is_read() -> None:
    drawn: list[int] = []

    def parts() -> Iterator[Part]:
        for number, part in enumerate(_parts()):
            drawn.append(number)
            yield part

    with pytest.raises(ResourceError):
        open_feed(parts(), CONFIG, _room(None, BASE_BYTES + 1_000), SILENT)
    assert len(drawn) < 10


def test_no_text_is_bad_data() -> None:
    with pytest.raises(DataError, match="no text"):
        list(open_feed(iter([]), CONFIG, _room(0), SILENT).texts())
