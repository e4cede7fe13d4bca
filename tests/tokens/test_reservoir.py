"""The sample: the same for every order of the input, nested, and as random as it should be."""

import random
from collections import Counter

import pytest

from llmkit.tokens.reservoir import Part, Reservoir

PARTS = [
    Part(f"text number {number} ".encode() * (1 + number % 5), f"s{number % 3}") for number in range(2000)
]


def _sample(parts: list[Part], max_bytes: int, seed: int = 0) -> Reservoir:
    reservoir = Reservoir(max_bytes, seed)
    for part in parts:
        reservoir.add(part)
    return reservoir


@pytest.mark.parametrize("max_bytes", [1, 500, 20_000])
def test_the_order_of_the_input_changes_nothing(max_bytes: int) -> None:
    expected = list(_sample(PARTS, max_bytes))
    for seed in range(4):
        shuffled = PARTS.copy()
        random.Random(seed).shuffle(shuffled)
        assert list(_sample(shuffled, max_bytes)) == expected


def test_copies_of_a_part_change_nothing_about_order_either() -> None:
    parts = PARTS[:50] * 4 + [Part(PARTS[0].content, "elsewhere")]
    samples = set()
    for seed in range(10):
        random.Random(seed).shuffle(parts)
        kept = _sample(parts, 3000)
        samples.add(tuple(Counter((part.content, part.source) for part in kept).items()))
        assert {part for part in kept} == {part for part in _sample(sorted(parts, key=repr), 3000)}
    assert len(samples) == 1


def test_it_holds_the_budget_and_at_most_one_part_more() -> None:
    kept = _sample(PARTS, 20_000)
    sizes = [len(part.content) for part in kept]
    assert sum(sizes) == kept.bytes and len(sizes) == len(kept)
    assert sum(sizes[:-1]) < 20_000 <= sum(sizes)
    assert kept.is_sample


def test_what_fits_is_kept_whole_and_is_no_sample() -> None:
    kept = _sample(PARTS, 1 << 20)
    assert not kept.is_sample
    assert Counter(kept) == Counter(PARTS)
    assert Reservoir(5, 0).bytes == 0 and list(Reservoir(5, 0)) == []


def test_a_larger_sample_begins_with_the_smaller() -> None:
    small, large = list(_sample(PARTS, 5000)), list(_sample(PARTS, 30_000))
    assert large[: len(small)] == small


def test_seeds_choose_differently_and_every_part_equally_often() -> None:
    chosen = Counter(part for seed in range(300) for part in _sample(PARTS[:40], 300, seed))
    assert _sample(PARTS, 5000, 1).bytes and list(_sample(PARTS, 5000, 1)) != list(_sample(PARTS, 5000, 2))
    per_part = [chosen[part] for part in PARTS[:40]]
    mean = sum(per_part) / 40
    assert all(abs(count - mean) < 5 * mean**0.5 for count in per_part)


def test_a_part_gives_its_text_back() -> None:
    assert Part("grüße".encode(), "x").text == "grüße"
    assert list(_sample([Part(b"a", "x")], 10, seed=-5)) == [Part(b"a", "x")]
