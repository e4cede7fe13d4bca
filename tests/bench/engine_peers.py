"""The engine beside llama.cpp and transformers: the table of tests/bench/README.md.

    python tests/bench/engine_peers.py [--only S,M] [--rounds N] [--llama LIBRARY] [--json FILE]

S is 100M parameters, M 1.1B, random weights, in bfloat16, int8 (Q8_0) and int4 (Q4_0): the same bits for
both. Decode of one text and of eight (tokens a second of all together), and a prompt of 512, each case in
turns with its peer, round after round; decode of S in bfloat16 also beside transformers' generate. The
bandwidth is read after every round by the kernels' threads; decode's share of it is that of its own round,
at the median.

--llama names libllama or the folder of a llama.cpp that was built for this processor (GGML_NATIVE); else it
is the one in xllamacpp, whose wheel is built for AVX2 at the most. On a quiet machine it takes about 3
minutes for S and 12 for M; on a busy one llama.cpp's threads wait for each other at every product.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from llmkit.kernels.bandwidth import memory_bandwidth
from llmkit.kernels.library import set_threads
from llmkit.machine import cores
from llmkit.model.config import ModelConfig
from llmkit.probe.bench import BenchReport, BenchRow
from llmkit.probe.config import BenchDecodeConfig, BenchModelConfig, BenchPrefillConfig
from llmkit.probe.machine_speed import SpeedProbe
from llmkit.workflows.bench.model import bench_model
from llmkit.workflows.bench.plan import plan_bench

_COMMON: dict[str, Any] = {
    "vocab_size": 32000,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "dtype": "bfloat16",
}
SHAPES = {
    "S": ModelConfig(
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=12,
        num_attention_heads=12,
        tie_word_embeddings=True,
        **_COMMON,
    ),
    "M": ModelConfig(
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=22,
        num_attention_heads=32,
        tie_word_embeddings=False,
        **_COMMON,
    ),
}
TOKENS = {"S": 64, "M": 24}
WEIGHTS = ("stored", "int8", "int4")
FLOORS = {
    ("decode", 1): {"stored": 1.0, "int8": 1.2, "int4": 1.2},
    ("decode", 8): dict.fromkeys(WEIGHTS, 3.0),
    ("prefill", 1): {"stored": 1.15, "int8": 2.0, "int4": 2.0},
}
"""Ratios to llama.cpp that issue 5 asks for."""


class Bandwidths(SpeedProbe):
    """Keeps the bandwidth after every round, the warm-up's too."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes_per_second: list[float] = []

    def measure(self, pairs: Iterable[tuple[int, str]]) -> None:
        """Also as `SpeedProbe` does."""
        pairs = list(pairs)
        super().measure(pairs)
        set_threads(max(threads for threads, _ in pairs))
        self.bytes_per_second.append(memory_bandwidth(repeats=3))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="S,M")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--llama", metavar="LIBRARY")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every report, whole")
    given = parser.parse_args()
    llama = "llama.cpp" + (f":{given.llama}" if given.llama else "")
    shared: dict[str, Any] = {"rounds": given.rounds, "threads": (given.threads,), "dtype": ("bfloat16",)}
    reports: list[BenchReport] = []
    for name in given.only.split(","):
        tokens = (TOKENS[name],)
        configs: list[BenchModelConfig] = [
            BenchDecodeConfig(tokens=tokens, batch=(1, 8), weights=WEIGHTS, against=llama, **shared),
            BenchPrefillConfig(prompt=(512,), weights=WEIGHTS, against=llama, **shared),
        ]
        if name == "S":
            configs.append(BenchDecodeConfig(tokens=tokens, against="transformers", **shared))
        for config in configs:
            probe = Bandwidths()
            report = _measure(name, config, probe)
            reports.append(report)
            if len(reports) == 1:
                print(_machine(report), flush=True)
            print(_table(name, report, probe.bytes_per_second[1:]), flush=True)
    if given.json is not None:
        given.json.write_bytes(msgspec.json.encode(reports))


def _measure(name: str, config: BenchModelConfig, probe: SpeedProbe) -> BenchReport:
    print(f"measuring {name}, {type(config).__name__} …", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.json"
        file.write_text(json.dumps(SHAPES[name].to_hf()))
        return bench_model(plan_bench(file, None, config), config, probe=probe)


def _machine(report: BenchReport) -> str:
    machine, work = report.environment, report.work
    names = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    settings = ", ".join(f"{one} {os.environ.get(one, 'not set')}" for one in names)
    versions = ", ".join(f"{package} {number}" for package, number in machine.versions.items())
    return "\n".join(
        (
            f"{machine.cpu} ({' '.join(machine.features)}), {machine.cores} cores, "
            f"load {machine.load_average:.1f}; {versions}",
            f"llmkit: {work['kernels_bfloat16']}; llama.cpp: {work['llama_cpp']}",
            f"here: {settings}; llama.cpp's process: none of them set\n",
        )
    )


def _table(name: str, report: BenchReport, bandwidths: list[float]) -> str:
    rows = {(row.engine, *_key(row)): row for row in report.rows}
    peer = next(row.engine for row in report.rows if row.is_peer)
    lines = [
        f"| {name} | weights | llmkit | {peer} | ratio | floor | of bandwidth | spread |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for (engine, batch, weights), row in rows.items():
        if engine != "llmkit":
            continue
        floor = FLOORS[report.bench, batch][weights] if peer == "llama.cpp" else 5.0
        moved = row.bytes_moved
        share = (
            ""
            if moved is None
            else f"{median(moved / s / b for s, b in zip(row.seconds, bandwidths, strict=True)):.0%}"
        )
        what = f"prompt of {row.case['prompt']}" if report.bench == "prefill" else f"decode, {batch} at once"
        theirs = rows[peer, batch, weights].tokens_per_second
        lines.append(
            f"| {what} | {'bfloat16' if weights == 'stored' else weights} | {row.tokens_per_second:.4g} "
            f"| {theirs:.4g} | {row.ratio:.2f} | {floor:.2f} | {share} | ±{row.spread:.0%} |"
        )
    measured = (
        f"{median(bandwidths) / 1e9:.1f} GB/s ({min(bandwidths) / 1e9:.1f} to {max(bandwidths) / 1e9:.1f})"
    )
    noisy = f"; noisy: {report.noisy}" if report.noisy else ""
    return "\n".join([*lines, "", f"bandwidth {measured}, {report.work['rounds']} rounds{noisy}\n"])


def _key(row: BenchRow) -> tuple[int, str]:
    return int(row.case.get("batch", 1)), str(row.case["weights"])


if __name__ == "__main__":
    main()
