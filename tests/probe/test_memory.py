"""The peak of a case is its own, where the system can start anew."""

import mmap
from pathlib import Path

import pytest

from llmkit.probe import memory
from llmkit.probe.memory import PeakMemory

MIB = 1 << 20


def test_a_peak_counts_what_was_held_between_begin_and_end_and_not_before() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("no /proc/self/clear_refs that can be written")
    peaks = PeakMemory()
    for name, size in (("large", 64 * MIB), ("small", MIB)):
        peaks.begin()
        with mmap.mmap(-1, size) as held:  # bytes of Python's may lie where others were freed
            held[:: mmap.PAGESIZE] = b"1" * (size // mmap.PAGESIZE)
            peaks.end(name)
    assert peaks.peaks["large"] - peaks.peaks["small"] > 48 * MIB


def test_the_highest_of_several_runs_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([3, 5, 4])
    monkeypatch.setattr(memory, "peak_memory_bytes", lambda: next(values))
    peaks = PeakMemory()
    for _ in range(3):
        peaks.end("a")
    assert peaks.peaks == {"a": 5}


def test_where_a_peak_cannot_be_started_anew_it_is_the_highest_so_far(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "none" / "clear_refs")
    peaks = PeakMemory()
    peaks.begin()
    peaks.end("a")
    assert peaks.peaks["a"] > MIB
