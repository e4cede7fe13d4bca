"""Rows beside a peer, noise, and the comparison with a baseline."""

from dataclasses import replace

import pytest

from llmkit.probe.bench import BenchReport, bench_rows, noise, slower_rows
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


def test_only_what_is_slower_beyond_the_tolerance_is_named() -> None:
    assert slower_rows(report(1.05), report(1.0), 0.1) == []
    (sentence,) = slower_rows(report(1.5), report(1.0), 0.1)
    assert sentence.startswith("ours: 666.7 tokens/s, was 1,000 (-33%)")


def test_a_spread_as_wide_as_the_loss_is_no_loss() -> None:
    wide = report(1.5)
    wide = replace(wide, rows=[replace(row, spread=0.5) for row in wide.rows])
    assert slower_rows(wide, report(1.0), 0.1) == []


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
