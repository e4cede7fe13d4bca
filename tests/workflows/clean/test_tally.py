"""Counts: quantiles within a bucket of numpy's; sums and samples the same in whatever order they come."""

import random
from itertools import permutations

import msgspec
import numpy as np
import pytest

from llmkit.workflows.clean.tally import (
    MOST_SAMPLES,
    Count,
    Sample,
    Tally,
    bucket_of,
    quantiles_of,
    tally_from,
    tally_report,
    value_of,
)


def tally_of(seed: int) -> Tally:
    """Some documents' counts."""
    rng = random.Random(seed)
    tally = Tally()
    for number in range(20):
        tally.documents += 1
        tally.bytes += rng.randrange(1000)
        tally.take_values({"a": rng.random(), "b": rng.randrange(100_000)})
        sample = Sample(rng.getrandbits(64), f"{seed}-{number}", "f", number, "text", value=0.5)
        tally.dropped.setdefault(rng.choice("xyz"), Count()).add(rng.randrange(1000), sample)
        tally.edit_counts["e"] = tally.edit_counts.get("e", 0) + 1
    return tally


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 4095.0, 4096.0, 1e9, 0.1, -0.1, 1e-12, 1 / 3, -123456.7])
def test_a_bucket_stands_for_its_values_within_one_percent(value: float) -> None:
    assert value_of(bucket_of(value)) == pytest.approx(value, rel=0.0101)


def test_whole_numbers_below_4096_are_exact() -> None:
    assert [value_of(bucket_of(float(n))) for n in range(-4095, 4096)] == list(range(-4095, 4096))


def test_buckets_of_larger_values_are_larger_numbers_apart_from_whole_ones() -> None:
    values = sorted(random.Random(0).uniform(-5, 5) for _ in range(500))
    stands = [value_of(bucket_of(value)) for value in values]
    assert stands == sorted(stands)


@pytest.mark.parametrize("seed", range(3))
def test_quantiles_are_numpys_within_a_bucket(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.lognormal(0, 2, 5000)
    tally = Tally()
    for value in values.tolist():
        tally.take_values({"x": value})
    found = quantiles_of(tally.values["x"])
    for name, share in (("p05", 0.05), ("p50", 0.5), ("p95", 0.95)):
        expected = float(np.quantile(values, share, method="lower"))
        assert found[name] == pytest.approx(expected, rel=0.02)
    assert found["min"] == pytest.approx(values.min(), rel=0.011)
    assert found["max"] == pytest.approx(values.max(), rel=0.011)
    assert quantiles_of({}) == {}


def test_merging_gives_the_same_in_any_order_and_grouping() -> None:
    results = []
    for order in permutations(range(4)):
        total = Tally()
        for seed in order:
            total.merge(tally_of(seed))
        results.append(total)
    left, right = Tally(), Tally()
    for half, seeds in ((left, (0, 1)), (right, (2, 3))):
        for seed in seeds:
            half.merge(tally_of(seed))
    left.merge(right)
    assert all(total == left for total in results)
    assert left.documents == 80
    assert sum(count.documents for count in left.dropped.values()) == 80


def test_samples_are_those_with_the_smallest_hashes_and_none_comes_twice() -> None:
    samples = [Sample(hashed, str(hashed), "f", 1, "") for hashed in (9, 3, 7, 1, 8, 2, 5, 3)]
    count = Count()
    for sample in samples:
        count.add(1, sample)
    assert [sample.hash for sample in count.samples] == [1, 2, 3, 5, 7]
    assert len(count.samples) == MOST_SAMPLES and count.documents == 8


def test_a_tally_goes_through_a_receipt_unchanged() -> None:
    tally = tally_of(1)
    report = msgspec.json.decode(msgspec.json.encode(tally_report(tally)))
    assert tally_from(report) == tally
