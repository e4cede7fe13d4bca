"""The figures of bench as they are shown: a table laid out by hand, and rows that stand by themselves."""

import json
from dataclasses import asdict, replace

import msgspec
import pytest

from llmkit.commands.bench_text import print_bench
from llmkit.probe.bench import BenchReport, BenchRow
from llmkit.probe.environment import Environment

REPORT = BenchReport(
    bench="tokenize",
    work={"documents": 12_000, "bytes": 3 << 20, "tokens": 1_234_000, "rounds": 9},
    environment=Environment("CPU X", 2, "3.11.4", {"llmkit": "0.1.0", "tokenizers": "0.22.1"}, 0.31),
    noisy=None,
    rows=[
        BenchRow("encode_batch", 2_000_000.4, 8_388_608.0, 0.6170, 0.0, 1.1, 1.0, 1.0, [0.6, 0.634]),
        BenchRow("llmkit", 1_960_000.0, 8_220_000.0, 0.6296, 0.0345, 1.2, 0.9799, 0.9449, [0.62, 0.64]),
    ],
)
TABLE = """\
| case         |  tokens/s | MB/s | seconds | spread | of the peer | of its CPU time |
| ------------ | --------: | ---: | ------: | -----: | ----------: | --------------: |
| encode_batch | 2,000,000 | 8.39 |   0.617 |  ±0.0% |      100.0% |          100.0% |
| llmkit       | 1,960,000 | 8.22 |   0.630 |  ±3.5% |       98.0% |           94.5% |

12,000 documents, 3.0 MiB, 1.23M tokens, 9 rounds in turns
CPU X, 2 cores, load 0.3; Python 3.11.4, llmkit 0.1.0, tokenizers 0.22.1
"""


def test_the_table_is_markdown_whose_columns_also_line_up(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    print_bench(REPORT, "md")
    assert capfdbinary.readouterr().out.decode() == TABLE


def test_a_row_of_jsonl_says_by_itself_which_bench_it_is_of_and_whether_to_trust_it(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    print_bench(replace(REPORT, noisy="the load was 3.0"), "jsonl")
    shared = {"schema": "llmkit.bench/1", "bench": "tokenize", "noisy": "the load was 3.0"}
    rows = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert rows == [shared | asdict(row) for row in REPORT.rows]


def test_json_is_one_line_that_reads_back_as_the_report(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    print_bench(REPORT, "json")
    (line,) = capfdbinary.readouterr().out.splitlines()
    assert msgspec.json.decode(line, type=BenchReport) == REPORT
