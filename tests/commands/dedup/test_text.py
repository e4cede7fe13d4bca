"""Reports of dedup for people."""

from llmkit.commands.dedup.text import describe_plan, describe_report
from llmkit.workflows.dedup.options import DedupConfig
from llmkit.workflows.dedup.plan import DedupPlan
from llmkit.workflows.dedup.report import make_report
from llmkit.workflows.dedup.write import Tally


def test_a_report_says_what_went_and_why() -> None:
    tally = Tally(
        documents=10, kept=7, removed=3, bytes=3000, kept_bytes=2048, removed_bytes=952, bad_lines=1
    )
    found = {
        **{"by_source": [["web", "wiki", 2], ["web", "web", 1]], "clusters": 2, "sizes": {"2": 1, "3-4": 1}},
        **{"candidates": 5, "missed": 0.25, "index_documents": 4},
    }
    text = describe_report(make_report(DedupConfig(), tally, found, out="o", seconds=2.0))
    assert [line.split(maxsplit=1) for line in text.splitlines()] == [
        ["documents", "10: 7 kept, 3 dropped (30.0%)"],
        ["text", "2.0 KiB of 2.9 KiB kept"],
        ["clusters", "2: 1 of 2, 1 of 3-4"],
        ["dropped", "2 of web for one of wiki"],
        ["dropped", "1 of web for one of web"],
        ["bands", "14 of 8 hashes, 5 pairs"],
        ["missed", "about 0.2 duplicates, by the odds of the bands"],
        ["index", "4 documents"],
        ["bad", "1 line passed over"],
        ["time", "2.0 s, 1.5 KiB/s"],
    ]


def test_lines_are_counted_by_line_and_many_sources_are_summed_up() -> None:
    tally = Tally(documents=2, kept=2, edited=1, pieces=5)
    text = describe_report(make_report(DedupConfig(by="line"), tally, {}, out="o", seconds=1))
    assert "removed    5 lines, in 1 document that stay" in text
    by_source = [[f"s{n}", "x", 1] for n in range(10)]
    found = {"by_source": by_source}
    text = describe_report(make_report(DedupConfig(), tally, found, out="o", seconds=1))
    assert text.count("dropped  ") == 9 and "2 of others" in text


def test_a_plan_of_stdin_has_no_numbers() -> None:
    unknown = ("about_documents", "about_memory_bytes", "about_disk_bytes", "about_seconds", "input_bytes")
    bands = {"similarity": 0.75, "bands": 14, "rows": 8, "found_at": {"0.8": 0.9237}}
    known = {"by": "near", "inputs": ["-"], "units": 0, "out": "-", "prefer": "first", "disk_free_bytes": 1}
    text = describe_plan(DedupPlan(**bands, **known, **dict.fromkeys(unknown)))
    assert "92.4% at 0.8" in text and "(stdin)" in text and "memory" not in text
