"""Truncated texts and chunks fit, and nothing is lost between them."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from llmkit.errors import UsageError
from llmkit.tokens.chunk import chunks, truncate
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.spans import Spans, token_spans

LICENSE = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")[:3000]
MIXED = "".join(f"{number} Grüße aus 日本語 🙂🙂 und e\u0301 weiter.\n\n" for number in range(8))

Measure = tuple[Callable[[str], Spans], Callable[[str], int]]


def measure(path: Path) -> Measure:
    tokenizer = load_tokenizer(path)
    backend = tokenizer.backend

    def spans(text: str) -> Spans:
        ids = np.array(backend.encode(text, add_special_tokens=False).ids, dtype=np.uint32)
        return token_spans(tokenizer, backend, text, ids)

    return spans, lambda text: len(backend.encode(text, add_special_tokens=False))


@pytest.fixture(params=["byte_level", "gpt2", "llama2"])
def tools(request: pytest.FixtureRequest) -> Measure:
    if request.param == "byte_level":
        return measure(request.getfixturevalue("byte_level_dir"))
    return measure(request.getfixturevalue("shared_data") / "tokenizers" / request.param)


@pytest.mark.parametrize("text", [LICENSE, MIXED])
@pytest.mark.parametrize("size", [8, 50])
def test_chunks_joined_are_the_text_and_each_fits(tools: Measure, text: str, size: int) -> None:
    spans, count = tools
    parts = list(chunks(text, spans(text), size, 0, count))
    assert "".join(text[part.start : part.end] for part in parts) == text
    for part in parts:
        assert count(text[part.start : part.end]) == part.tokens <= size


def test_overlapping_chunks_repeat_the_end_of_the_one_before(tools: Measure) -> None:
    spans, count = tools
    parts = list(chunks(LICENSE, spans(LICENSE), 40, 10, count))
    assert parts[0].start == 0
    assert parts[-1].end == len(LICENSE)
    for before, after in pairwise(parts):
        assert before.start < after.start < before.end < after.end
        assert 5 <= count(LICENSE[after.start : before.end]) <= 15


def test_a_chunk_too_small_for_one_character_is_refused(byte_level_dir: Path) -> None:
    spans, count = measure(byte_level_dir)
    with pytest.raises(UsageError, match="too small"):
        list(chunks("🙂", spans("🙂"), 1, 0, count))


def test_an_empty_text_has_no_chunks(byte_level_dir: Path) -> None:
    spans, count = measure(byte_level_dir)
    assert list(chunks("", spans(""), 4, 0, count)) == []


@pytest.mark.parametrize("text", [LICENSE, MIXED])
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_what_is_kept_fits_and_stands_where_it_should(tools: Measure, text: str, limit: int) -> None:
    spans, count = tools
    kept = {
        keep: truncate(text, spans(text), limit, keep, count) for keep in ("head", "tail", "middle", "ends")
    }
    assert all(count(part) <= limit for part in kept.values())
    assert text.startswith(kept["head"])
    assert text.endswith(kept["tail"])
    assert kept["middle"] in text
    if limit == 100:
        assert all(count(part) >= limit - 4 for part in kept.values())
        middle = text.index(kept["middle"]) + len(kept["middle"]) / 2
        assert abs(middle - len(text) / 2) < 0.2 * len(text)
        assert text[:20] == kept["ends"][:20]
        assert text[-20:] == kept["ends"][-20:]


def test_a_text_within_the_limit_is_left_alone(byte_level_dir: Path) -> None:
    spans, count = measure(byte_level_dir)
    assert truncate("short", spans("short"), 100, "tail", count) == "short"
