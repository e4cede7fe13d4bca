"""Rows beside a peer, noise, and the comparison with a baseline."""

from dataclasses import replace

import pytest

from llmkit.errors import DataError
from llmkit.probe.bench import (
    BenchReport,
    bench_rows,
    measured,
    missing_rows,
    noise,
    require_comparable,
    slower_rows,
)
from llmkit.probe.environment import Environment, read_environment
from llmkit.probe.timing import Timing

QUIET = Environment("cpu A", 2, "3.11", {}, 0.1)


def report(seconds: float, environment: Environment = QUIET) -> BenchReport:
    timings = {"peer": Timing([1.0] * 3, [2.0] * 3), "ours": Timing([seconds] * 3, [2 * seconds] * 3)}
    rows = bench_rows(timings, peer="peer", tokens=1000, num_bytes=4000)
    return BenchReport("tokenize", {}, environment, None, rows)


def test_figures_by_hand() -> None:
    peer, ours = report(0.5).rows
    assert (peer.ratio, peer.tokens_per_second) == (1.0, 1000.0)
    assert (ours.ratio, ours.cpu_ratio, ours.tokens_per_second, ours.bytes_per_second) == (2, 2, 2000, 8000)


def test_a_busy_machine_and_rounds_that_disagree_are_noise() -> None:
    assert noise(QUIET, report(1.0).rows) is None
    assert "load average" in str(noise(replace(QUIET, load_average=1.5), report(1.0).rows))
    rows = bench_rows({"peer": Timing([1.0, 1.2, 1.4, 1.6], [1.0] * 4)}, peer="peer", tokens=1, num_bytes=1)
    assert "from round to round" in str(noise(QUIET, rows))
    once = bench_rows({"peer": Timing([1.0], [1.0])}, peer="peer", tokens=1, num_bytes=1)
    assert noise(QUIET, once) == "a single round has no spread"


def test_only_what_is_slower_beyond_the_tolerance_is_named() -> None:
    assert slower_rows(report(1.05), report(1.0), 0.1) == []
    (sentence,) = slower_rows(report(1.5), report(1.0), 0.1)
    assert sentence.startswith("ours: 666.7 tokens/s, was 1,000 (-33%)")


def test_a_spread_as_wide_as_the_loss_is_no_loss() -> None:
    wide = report(1.5)  # 666.7 tokens/s, a loss of 333.3
    wide = replace(wide, rows=[replace(row, spread=0.51) for row in wide.rows])
    assert slower_rows(wide, report(1.0), 0.1) == []
    narrow = replace(wide, rows=[replace(row, spread=0.49) for row in wide.rows])
    assert len(slower_rows(narrow, report(1.0), 0.1)) == 1


def test_the_spread_of_the_baseline_counts_too() -> None:
    before = report(1.0)
    spreads = {0.16: 1, 0.17: 0}  # 0.25 of 666.7 and 0.16 or 0.17 of 1000 against a loss of 333.3
    for spread, found in spreads.items():
        old = replace(before, rows=[replace(row, spread=spread) for row in before.rows])
        new = report(1.5)
        new = replace(new, rows=[replace(row, spread=0.25) for row in new.rows])
        assert len(slower_rows(new, old, 0.1)) == found


def test_a_peer_that_is_slower_is_no_loss_of_ours() -> None:
    slow = report(1.0)
    slow = replace(slow, rows=[replace(row, tokens_per_second=1.0) for row in slow.rows])
    assert [sentence.split(":")[0] for sentence in slower_rows(slow, report(1.0), 0.1)] == ["ours"]


def test_a_baseline_of_another_bench_model_or_sweep_says_nothing() -> None:
    now = report(1.0)
    with pytest.raises(DataError, match="bench decode"):
        slower_rows(now, replace(now, bench="decode"), 0.1)
    with pytest.raises(DataError, match="another shape"):
        slower_rows(replace(now, work={"shape_sha256": "a"}), replace(now, work={"shape_sha256": "b"}), 0.1)
    for key, what in {
        "tokenizer_sha256": "another tokenizer",
        "documents": "other text",
        "bytes": "other",
    }.items():
        with pytest.raises(DataError, match=what):
            slower_rows(replace(now, work={key: 1}), replace(now, work={key: 2}), 0.1)
    with pytest.raises(DataError, match="no case such as ours"):
        slower_rows(now, replace(now, rows=now.rows[:1]), 0.1)
    with pytest.raises(DataError, match="no case such as ours"):
        require_comparable("tokenize", {}, ["ours"], replace(now, rows=now.rows[:1]))


def test_without_a_peer_another_processor_cannot_be_compared() -> None:
    alone = report(1.0)
    alone = replace(alone, rows=[replace(row, ratio=None) for row in alone.rows])
    assert slower_rows(alone, alone, 0.1) == []
    with pytest.raises(DataError, match="another processor"):
        slower_rows(replace(alone, environment=replace(QUIET, cpu="cpu B")), alone, 0.1)
    with pytest.raises(DataError, match="another processor"):
        slower_rows(replace(alone, environment=replace(QUIET, cores=64)), alone, 0.1)


def test_a_row_alone_has_no_ratio_and_one_beside_a_peer_the_peers_time_over_its_own() -> None:
    ours, peer = Timing([2.0, 4.0], [1.0, 1.0]), Timing([3.0, 12.0], [2.0, 2.0])
    assert measured(ours, None)["ratio"] is None
    assert measured(ours, peer)["ratio"] == (3 / 2 + 12 / 4) / 2
    assert measured(ours, peer)["cpu_ratio"] == 2.0
    assert (
        measured(Timing([1.0], [0.0]), Timing([1.0], [1.0]))["cpu_ratio"] is None
    )  # too quick for the clock


def test_rows_that_a_baseline_lacks_are_listed() -> None:
    assert missing_rows(["ours", "new"], report(1.0)) == ["new"]
    assert report(1.0).own_names == ["ours"]


def test_on_another_processor_ratios_are_compared() -> None:
    other = replace(QUIET, cpu="cpu B")
    slow = report(1.0, other)
    slow = replace(slow, rows=[replace(row, tokens_per_second=1.0) for row in slow.rows])
    assert slower_rows(slow, report(1.0), 0.1) == []
    assert "of the peer" in slower_rows(report(2.0, other), report(1.0), 0.1)[0]


def test_the_environment_names_processor_and_versions_and_no_path() -> None:
    environment = read_environment("tokenizers", "no-such-package")
    assert environment.cpu
    assert environment.cores >= 1
    assert set(environment.versions) == {"llmkit", "tokenizers"}
    assert "/" not in str(environment.versions)
    assert replace(environment, load_average=100.0).quiet is False


def test_a_ratio_needs_the_same_rounds() -> None:
    with pytest.raises(ValueError, match="zip"):
        bench_rows(
            {"peer": Timing([1.0], [1.0]), "x": Timing([1.0] * 2, [1.0] * 2)},
            peer="peer",
            tokens=1,
            num_bytes=1,
        )
