"""The figures of a run: what can be counted by hand, and that speeds are those of the meter."""

from types import SimpleNamespace
from typing import Any

from llmkit.engine.counts import Counts
from llmkit.engine.meter import Timing
from llmkit.workflows.generate.stats import GenerateStats, generate_stats


def _stats(timing: Timing, **counts: Any) -> GenerateStats:
    adapters = SimpleNamespace(kernels="torch", uses=tuple)
    engine = SimpleNamespace(counts=Counts(**counts), speculation=lambda: None, adapters=adapters)
    meter: Any = SimpleNamespace(timing=timing, engine=engine)
    return generate_stats(meter, prompt_tokens=30, completion_tokens=20, seconds=5.0, load_seconds=1.0)


def test_speeds_are_tokens_over_the_time_of_their_passes() -> None:
    timing = Timing(
        texts=2, first_seconds=3.0, longest_first_seconds=2.0, prefill_tokens=30, prefill_seconds=1.5,
        decode_tokens=18, decode_seconds=3.0,
    )  # fmt: skip
    found = _stats(timing, cached_tokens=16, restarts=1)
    assert (found.prefill_tokens_per_second, found.decode_tokens_per_second) == (20.0, 6.0)
    assert (found.first_token_seconds, found.longest_first_token_seconds) == (1.5, 2.0)
    assert (found.cached_tokens, found.restarts, found.texts, found.load_seconds) == (16, 1, 2, 1.0)
    assert found.peak_memory_bytes > 10_000_000 and found.schema == "llmkit.generate-stats/1"


def test_what_was_not_measured_is_none() -> None:
    found = _stats(Timing())
    assert found.first_token_seconds is found.longest_first_token_seconds is None
    assert found.prefill_tokens_per_second is found.decode_tokens_per_second is None
