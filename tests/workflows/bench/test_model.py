"""A bench from plan to report: the figures follow from the seconds, the threads are those of the case."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from coded_models import coded_gguf
from gguf_models import case_config, random_model

from llmkit.engine.native.weights import PackedModel
from llmkit.errors import ResourceError
from llmkit.kernels.library import available, why_not
from llmkit.kernels.library import threads as kernel_threads
from llmkit.probe import environment
from llmkit.probe.bench import BenchReport
from llmkit.probe.config import BenchDecodeConfig, BenchModelConfig, BenchPrefillConfig, BenchTrainConfig
from llmkit.probe.machine_speed import SpeedProbe
from llmkit.workflows.bench import decode as bench_decode
from llmkit.workflows.bench.case import BenchCase
from llmkit.workflows.bench.model import Weights, bench_model
from llmkit.workflows.bench.plan import plan_bench
from llmkit.workflows.bench.source import open_source

QUICK: dict[str, Any] = {"threads": (1,), "rounds": 2}
CONFIGS: dict[str, BenchModelConfig] = {
    "prefill": BenchPrefillConfig(prompt=(8,), depth=(0, 4), against="transformers", **QUICK),
    "decode": BenchDecodeConfig(tokens=(3,), dtype=("float32", "bfloat16"), against="transformers", **QUICK),
    "train": BenchTrainConfig(batch_rows=(1, 2), seq_len=(8,), against="transformers", **QUICK),
}


def small_probe() -> SpeedProbe:
    return SpeedProbe(stream_bytes=1 << 16, sides=(8,))


@pytest.fixture(scope="module")
def reports() -> dict[str, BenchReport]:
    pytest.importorskip("transformers")
    return {
        kind: bench_model(plan_bench(None, "nanogpt-cpu", config), config, probe=small_probe())
        for kind, config in CONFIGS.items()
    }


@pytest.mark.parametrize("kind", CONFIGS)
def test_figures_follow_from_seconds_work_and_ceilings(reports: dict[str, BenchReport], kind: str) -> None:
    report = reports[kind]
    assert (report.bench, len(report.rows)) == (kind, 4)
    for row in report.rows:
        assert len(row.seconds) == 2 and row.median_seconds == median(row.seconds)
        (ceiling,) = [one for one in report.ceilings if one.dtype == row.case["dtype"]]
        assert row.flops is not None
        assert row.flops_per_second == row.flops / row.median_seconds
        assert row.mfu == row.flops_per_second / ceiling.flops_per_second
        assert row.memory_bytes is not None and row.memory_bytes > 1 << 20
        if kind == "decode":
            assert row.bytes_moved is not None and row.bytes_per_second is not None
            assert row.mbu == row.bytes_moved / row.median_seconds / ceiling.bytes_per_second
            assert row.seconds_per_token == row.median_seconds / 3
        else:
            assert (row.bytes_moved, row.bytes_per_second, row.mbu) == (None, None, None)
        assert row.first_token_seconds == (row.median_seconds if kind == "prefill" else None)
        assert row.tokens_per_second == {
            "prefill": 8, "decode": 3, "train": 8 * int(row.case.get("batch_rows", 1)),
        }[kind] / row.median_seconds  # fmt: skip


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_ratio_is_the_peers_seconds_over_ours_round_by_round(
    reports: dict[str, BenchReport], kind: str
) -> None:
    rows = reports[kind].rows
    for ours, peer in zip(rows[::2], rows[1::2], strict=True):
        assert ours.case == peer.case and (ours.engine, peer.engine) == ("llmkit", "transformers")
        assert peer.is_peer and peer.ratio == 1.0
        assert ours.ratio == median(b / a for a, b in zip(ours.seconds, peer.seconds, strict=True))


def test_the_report_says_what_was_measured(reports: dict[str, BenchReport]) -> None:
    report = reports["decode"]
    assert report.work["model"] == "nanogpt-cpu" and report.work["weights"] == "random, seed 0"
    model = open_source(None, "nanogpt-cpu").load("float32", 0)
    assert report.work["parameters"] == sum(one.numel() for one in model.parameters())
    assert {"llmkit", "torch", "transformers"} <= set(report.environment.versions)


def test_without_a_peer_there_is_no_ratio_and_a_folder_is_digested(tiny_model: Callable[..., Path]) -> None:
    config = BenchPrefillConfig(prompt=(4,), **QUICK)
    report = bench_model(plan_bench(tiny_model("m"), None, config), config, probe=small_probe())
    (row,) = report.rows
    assert (row.ratio, row.cpu_ratio) == (None, None)
    assert (report.work["model"], report.work["weights"]) == ("m", "stored")
    assert len(report.work["model_sha256"]) == 64
    assert "transformers" not in report.environment.versions


def test_each_case_runs_with_its_own_threads_and_the_process_gets_its_own_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[int, set[tuple[int, int]]] = {}
    build = bench_decode.build

    def watched(*args: Any) -> list[BenchCase]:
        (case,) = build(*args)
        threads = int(case.point["threads"])

        def run() -> object:
            kernels = kernel_threads() if available() else threads
            seen.setdefault(threads, set()).add((torch.get_num_threads(), kernels))
            return case.run()

        return [replace(case, run=run)]

    monkeypatch.setattr(bench_decode, "build", watched)
    before = torch.get_num_threads()
    config = BenchDecodeConfig(tokens=(2,), threads=(1, 2), rounds=1, kernels="torch")
    bench_model(plan_bench(None, "nanogpt-cpu", config), config, probe=small_probe())
    assert seen == {1: {(1, 1)}, 2: {(2, 2)}}
    if available():  # which torch would only be in the way of
        seen.clear()
        native = replace(config, kernels="native")
        bench_model(plan_bench(None, "tiny", native), native, probe=small_probe())
        assert seen == {1: {(1, 1)}, 2: {(1, 2)}}
    assert torch.get_num_threads() == before


def test_progress_counts_every_run_the_warm_up_too() -> None:
    class Listener:
        def __init__(self) -> None:
            self.seen: list[tuple[float, float | None]] = []

        def update(self, done: float, total: float | None = None, **fields: float | str) -> None:
            self.seen.append((done, total))

        def note(self, message: str) -> None:
            raise AssertionError(message)

    listener = Listener()
    config = BenchDecodeConfig(tokens=(1, 2), **QUICK)
    bench_model(plan_bench(None, "nanogpt-cpu", config), config, progress=listener, probe=small_probe())
    assert listener.seen == [(number, 6) for number in range(1, 7)]


def test_a_busy_machine_is_flagged_and_refused_when_quiet_is_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(environment.os, "getloadavg", lambda: (99.0, 99.0, 99.0))
    config = BenchDecodeConfig(tokens=(1,), **QUICK)
    plan = plan_bench(None, "nanogpt-cpu", config)
    assert "load average 99.0" in str(bench_model(plan, config, probe=small_probe()).noisy)
    strict = BenchDecodeConfig(tokens=(1,), require_quiet=True, **QUICK)
    with pytest.raises(ResourceError, match="machine is busy"):
        bench_model(plan, strict, probe=small_probe())


@pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")
def test_a_quantised_file_is_measured_as_the_codes_that_it_is_stored_as(tmp_path: Path) -> None:
    shape = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64, "vocab_size": 40}
    types = {"attn": "Q4_0", "ffn": "Q4_0", "token_embd": "Q8_0", "output": "Q8_0"}
    path = coded_gguf(tmp_path / "a.gguf", random_model(case_config("llama", shape)), types)
    config = BenchDecodeConfig(tokens=(3,), dtype=("float32",), **QUICK)
    (row,) = bench_model(plan_bench(path, None, config), config, probe=small_probe()).rows
    apart = replace(config, kernels="torch")
    (plain,) = bench_model(plan_bench(path, None, apart), apart, probe=small_probe()).rows
    assert row.bytes_moved is not None and plain.bytes_moved is not None
    assert row.bytes_moved < 0.3 * plain.bytes_moved
    weights = Weights(plan_bench(path, None, config), config, ExitStack())
    model, _ = weights.at({"dtype": "float32", "weights": "stored"})
    assert isinstance(model, PackedModel) and model.nbytes < 0.3 * 4 * weights._plan.parameters
