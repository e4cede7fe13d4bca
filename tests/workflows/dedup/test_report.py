"""Warnings, and shares."""

from typing import Any

import msgspec
import pytest

from llmkit.workflows.dedup.options import DedupConfig
from llmkit.workflows.dedup.report import make_report, sum_tallies
from llmkit.workflows.dedup.write import Tally


def report(config: DedupConfig, tally: Tally, **found: Any) -> Any:
    return make_report(config, tally, found, out="-", seconds=1.0)


@pytest.mark.parametrize(
    ("config", "tally", "found", "says"),
    [
        (DedupConfig(), Tally(documents=9, kept=9), {}, ["no duplicate was found by --by near in 9"]),
        (DedupConfig(by="exact", key="k"), Tally(documents=9, kept=9), {}, ["by the key k"]),
        (DedupConfig(), Tally(documents=9, removed=5), {}, ["56% of the documents"]),
        (DedupConfig(mode="tag"), Tally(documents=9, kept=9, tagged=6), {}, ["67% of the documents"]),
        (
            DedupConfig(by="line"),
            Tally(documents=9, edited=9, bytes=9, removed_bytes=8),
            {},
            ["89% of the text"],
        ),
        (
            DedupConfig(by="exact"),
            Tally(documents=9, removed=1),
            {"without_key": 3},
            ["3 documents without text"],
        ),
        (DedupConfig(), Tally(documents=9, kept=8, removed=1), {}, []),
        (
            DedupConfig(),
            Tally(documents=9, kept=8, removed=1),
            {"had_by_none": ["score"]},
            ["--prefer score: no document has it"],
        ),
    ],
)
def test_what_is_odd_is_said(config: DedupConfig, tally: Tally, found: Any, says: list[str]) -> None:
    warnings = report(config, tally, **found).warnings
    assert len(warnings) == len(says) and all(text in line for text, line in zip(says, warnings, strict=True))


def test_a_report_is_json_and_says_by_which_bands() -> None:
    made = report(
        DedupConfig(), Tally(documents=4, removed=1), by_source=[["a", "b", 1]], candidates=7, missed=0.5
    )
    decoded = msgspec.json.decode(msgspec.json.encode(made))
    assert decoded["schema"] == "llmkit.dedup/1" and decoded["removed_by_source"] == {"a": {"b": 1}}
    assert (decoded["bands"], decoded["candidates"], decoded["missed_about"]) == (14, 7, 0.5)
    assert made.share == 0.25 and report(DedupConfig(by="line"), Tally()).bands is None


def test_tallies_of_units_are_one() -> None:
    units = [msgspec.to_builtins(Tally(documents=n, kept=n)) for n in (1, 2)]
    assert sum_tallies(units) == Tally(documents=3, kept=3)
