"""The figures of bench as they are shown: a table laid out by hand, and rows that stand by themselves."""

import csv
import json
from dataclasses import asdict, replace

import msgspec
import pytest

from llmkit.commands.bench.text import print_bench, print_plan
from llmkit.probe.bench import BenchReport, BenchRow, Ceiling
from llmkit.probe.environment import Environment
from llmkit.workflows.bench.plan import PlannedCase, PlanReport

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
    shared = {"schema": "llmkit.bench/1", "bench": "tokenize", "noisy": "the load was 3.0", "ceilings": []}
    shared |= {"work": REPORT.work, "environment": asdict(REPORT.environment)}
    rows = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert rows == [shared | asdict(row) for row in REPORT.rows]


def test_json_is_one_line_that_reads_back_as_the_report(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    print_bench(REPORT, "json")
    (line,) = capfdbinary.readouterr().out.splitlines()
    assert msgspec.json.decode(line, type=BenchReport) == REPORT


DECODE = BenchReport(
    bench="decode",
    work={"model": "m", "model_sha256": "a" * 64, "parameters": 1_000, "weights": "stored", "rounds": 1},
    environment=Environment("CPU X", 2, "3.11.4", {"llmkit": "0.1.0"}, 0.31, ["avx2", "fma"]),
    noisy=None,
    rows=[
        BenchRow(
            name="llmkit tokens=8 dtype=float32",
            case={"tokens": 8, "dtype": "float32"},
            tokens_per_second=1234.5,
            bytes_per_second=2.5e9,
            median_seconds=0.00648,
            spread=0.01,
            cpu_seconds=0.0065,
            ratio=2.345,
            cpu_ratio=2.0,
            seconds_per_token=0.00081,
            mbu=0.25,
            memory_bytes=3 << 20,
            seconds=[0.1, 0.2],
        )
    ],
    ceilings=[Ceiling(1, "float32", 1e10, "copy of 1 MiB", 2e12, "product of 8 x 8")],
)
DECODE_TABLE = """\
| engine | tokens |   dtype | tokens/s | ms/token | spread | GB/s |   MBU | peak memory | × peer |
| ------ | -----: | ------: | -------: | -------: | -----: | ---: | ----: | ----------: | -----: |
| llmkit |      8 | float32 |    1,234 |     0.81 |  ±1.0% | 2.50 | 25.0% |     3.0 MiB |   2.35 |

m, 1k parameters, weights stored, sha256 aaaaaaaaaaaa; 1 round in turns
1 thread, float32: measured 10.0 GB/s (copy of 1 MiB), 2,000 GFLOP/s (product of 8 x 8)
CPU X (avx2 fma), 2 cores, load 0.3; Python 3.11.4, llmkit 0.1.0
"""


def test_a_sweep_has_a_column_for_each_dimension_and_says_what_shares_are_of(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    print_bench(DECODE, "md")
    assert capfdbinary.readouterr().out.decode() == DECODE_TABLE


def test_a_single_round_shows_no_spread(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    print_bench(replace(DECODE, rows=[replace(DECODE.rows[0], seconds=[0.1], spread=0.0)]), "md")
    assert "±" not in capfdbinary.readouterr().out.decode()


def test_csv_has_columns_for_the_point_of_the_sweep_and_one_for_the_rounds(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    print_bench(DECODE, "csv")
    (row,) = csv.DictReader(capfdbinary.readouterr().out.decode().splitlines())
    assert (row["tokens"], row["dtype"], row["seconds"]) == ("8", "float32", "0.1 0.2")
    assert (row["mfu"], row["noisy"], row["cpu"], row["model"]) == ("", "", "CPU X", "m")


def test_a_plan_is_shown_with_what_it_takes(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    case = PlannedCase(name="llmkit tokens=8", engine="llmkit", case={"tokens": 8})
    plan = PlanReport(
        bench="decode", model="m", parameters=1000, rounds=5, memory_bytes=1 << 20, cases=[case]
    )
    print_plan(plan, "md")
    table, _, foot = capfdbinary.readouterr().out.decode().rpartition("\n\n")
    assert table.splitlines()[2] == "| llmkit |      8 |"
    assert foot.strip() == (
        "bench decode of m, 1k parameters; 5 rounds and one to warm up, about 1.0 MiB of memory"
    )
