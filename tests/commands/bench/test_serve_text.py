"""The table and the lines of a load, from a report made by hand."""

import csv
import io
import json
from typing import Any

import pytest

from llmkit.commands.bench.serve_text import load_table, print_load
from llmkit.probe.environment import Environment
from llmkit.probe.load import Outcome
from llmkit.probe.load_rows import load_rows
from llmkit.workflows.bench.serve import BenchServeReport


def report(target: float | None = None) -> BenchServeReport:
    outcomes = [
        Outcome("short", 0.0, 2.0, 0.5, [0.1, 0.3], 10, 5, 3),
        Outcome("long", 0.0, 4.0, 1.5, [0.2], 90, 0, 5),
        Outcome("long", 1.0, 1.0, error="cut short"),
    ]
    work: dict[str, Any] = {
        **{"model": "tiny", "arrivals": "2 at once", "stream": True, "ttft_target": target, "seed": 0},
        **{"prompt_tokens": 10, "long_prompt_tokens": 90, "long_share": 0.5, "shared_tokens": 0},
    }
    return BenchServeReport(work, Environment("a CPU", 2, "3.12", {}, 0.5), load_rows(outcomes, target))


def test_the_table_has_a_row_a_kind_and_says_what_failed() -> None:
    lines = load_table(report(target=1.0)).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:5]]
    assert [row[0] for row in cells] == ["requests", "--------", "short", "long", "all"]
    named = dict(zip(cells[0], cells[2], strict=False))
    assert (named["done"], named["tokens/s"], named["cached"], named["TTFT p50 ms"]) == (
        "1",
        "1",
        "50%",
        "500",
    )
    assert cells[4][1:3] == ["2", "1"] and cells[4][-1] == "0.25"
    assert "failed: 1 × cut short" in lines


def test_without_a_target_there_is_no_goodput() -> None:
    assert "good" not in load_table(report())


def test_a_line_of_jsonl_and_of_csv_stands_by_itself(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    print_load(report(), "jsonl")
    lines = [json.loads(line) for line in capsysbinary.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines] == ["short", "long", "all"]
    assert all(line["schema"] == "llmkit.bench-serve/1" and line["work"]["model"] == "tiny" for line in lines)
    print_load(report(), "csv")
    rows = list(csv.DictReader(io.StringIO(capsysbinary.readouterr().out.decode())))
    assert [row["kind"] for row in rows] == ["short", "long", "all"]
    assert rows[1]["errors"] == "cut-short=1" and float(rows[0]["first_token_p50"]) == 0.5
    print_load(report(), "json")
    assert len(json.loads(capsysbinary.readouterr().out)["rows"]) == 3
