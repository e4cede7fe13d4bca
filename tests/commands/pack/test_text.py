"""Packing for people: the figures that matter, what did not happen left out."""

from types import SimpleNamespace

from llmkit.commands.pack.text import describe_plan, describe_report

REPORT = {
    **{"out": "shards", "rows": 1234, "seq_len": 1023, "tokens": 1_260_000, "padding_tokens": 3616},
    **{"documents": 800, "cut_documents": 12, "dropped_documents": 0, "empty_documents": 0},
    **{"fim_psm_documents": 0, "fim_spm_documents": 0},
    **{"lost_tokens": 0, "bad_lines": 0, "boundary": "both", "dtype": "u2", "shards": 1},
    **{"size_bytes": 1_184_400, "seconds": 2.0},
}


def test_a_plain_result_is_six_lines() -> None:
    lines = describe_report(SimpleNamespace(**REPORT)).splitlines()
    assert lines == [
        "rows       1,234 of 1,024 ids (shards)",
        "tokens     1,260,000, and 0.29% padding",  # 3616 / 1263616
        "documents  800, 12 in more than one row",
        "boundary   bos before, eos after each document",
        "written    1 shard, 1.1 MiB, ids as u2",
        "time       2.0 s, 630k tokens/s",
    ]


def test_what_was_lost_or_left_out_is_said() -> None:
    report = REPORT | {"lost_tokens": 5000, "dropped_documents": 7, "empty_documents": 1, "bad_lines": 1}
    text = describe_report(SimpleNamespace(**report))
    assert "lost       5,000 tokens of long documents, as --long asked" in text
    assert "7 dropped as too long, 1 empty" in text
    assert "bad        1 line passed over" in text


def test_documents_with_a_gap_are_counted() -> None:
    report = REPORT | {"fim_psm_documents": 1200, "fim_spm_documents": 800}
    text = describe_report(SimpleNamespace(**report))
    assert "gaps       2,000 documents, 800 with what follows first" in text


def test_a_plan_of_stdin_says_only_what_is_known() -> None:
    known = {"inputs": ["-"], "input_bytes": None, "seq_len": 63, "strategy": "greedy", "boundary": "none"}
    plan = SimpleNamespace(**known, about_tokens=None, out="shards")
    assert describe_plan(plan).splitlines() == [
        "inputs    1 file (stdin)",
        "rows      of 64 ids, greedy",
        "boundary  nothing put around documents",
        "writes    shards",
    ]
