"""The plan of a bench: what is left open resolved, what cannot be refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from coded_models import coded_gguf
from gguf_models import case_config, random_model

from llmkit.errors import ConfigError, DataError, MissingError, ResourceError, UsageError
from llmkit.estimate.architecture_of import architecture_of
from llmkit.kernels.library import available
from llmkit.probe.bench import BenchReport, BenchRow
from llmkit.probe.config import BenchDecodeConfig, BenchLoadConfig, BenchPrefillConfig, BenchTrainConfig
from llmkit.probe.environment import Environment
from llmkit.workflows.bench import peer as bench_peer
from llmkit.workflows.bench import plan as bench_plan
from llmkit.workflows.bench.plan import kind_of, plan_bench
from llmkit.workflows.bench.source import BenchSource, open_source

Build = Callable[..., Path]


def test_every_engine_has_every_point() -> None:
    config = BenchPrefillConfig(prompt=(4, 8), depth=(0, 2), threads=(1,), against="transformers")
    cases = plan_bench(None, "tiny", config).report().cases
    assert len(cases) == 8 and len({one.name for one in cases}) == 8
    assert [one.engine for one in cases[:2]] == ["llmkit", "transformers"]


def test_what_is_left_open_is_what_generate_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    points = {
        name: plan_bench(None, name, BenchDecodeConfig(tokens=(4,))).points[0]
        for name in ("tiny", "smollm2-135m")
    }
    assert (points["tiny"]["threads"], points["tiny"]["dtype"]) == (1, "float32")
    assert (points["smollm2-135m"]["threads"], points["smollm2-135m"]["dtype"]) == (7, "bfloat16")


def test_a_point_that_two_words_mean_is_measured_once() -> None:
    config = BenchDecodeConfig(tokens=(4,), threads=(1,), dtype=("auto", "float32"))
    assert len(plan_bench(None, "tiny", config).points) == 1


def test_the_kind_is_that_of_the_settings() -> None:
    settings = (BenchPrefillConfig, BenchDecodeConfig, BenchTrainConfig, BenchLoadConfig)
    assert [kind_of(one()) for one in settings] == ["prefill", "decode", "train", "load"]


def test_memory_is_weights_once_a_dtype_and_a_cache_a_case(tiny_model: Build) -> None:
    def memory(**given: object) -> int:
        return plan_bench(
            tiny_model_dir, None, BenchPrefillConfig(threads=(1,), kernels="torch", **given)
        ).memory_bytes  # type: ignore[arg-type]

    tiny_model_dir = tiny_model()
    one = memory(prompt=(8,))
    per_position = 2 * 2 * 1 * 4 * 4  # K and V, 2 layers, 1 head of 4, float32
    assert memory(prompt=(8,), depth=(0, 2)) - one == 10 * per_position
    weights = (tiny_model_dir / "model.safetensors").stat().st_size
    both = memory(prompt=(8,), dtype=("float32", "bfloat16")) - one
    assert both == pytest.approx(weights / 2, rel=0.5) and both < weights


@pytest.mark.skipif(not available(), reason="no kernels")
def test_packed_weights_are_memory_beside_the_models_own_and_llama_cpps_a_file_and_its_layout(
    tiny_model: Build, tmp_path: Path
) -> None:
    def memory(**given: object) -> int:
        config = BenchDecodeConfig(tokens=(4,), threads=(1,), **given)  # type: ignore[arg-type]
        return plan_bench(folder, None, config).memory_bytes

    folder, library = tiny_model(), tmp_path / "libllama.so"
    library.touch()
    none = memory(kernels="torch")
    four = int(architecture_of(open_source(folder, None).config).parameters * 4.5 / 8)
    assert memory(weights=("int4",)) - none == four
    assert memory(weights=("int4",), batch=(3,)) - none == four + 2 * 5 * 2 * 2 * 1 * 4 * 4  # two more texts
    beside = memory(weights=("int4",), against=f"llama.cpp:{library}")
    assert beside - none == 3 * four + 5 * 2 * 2 * 1 * 4 * 4


def test_rows_to_train_on_count_as_memory() -> None:
    def memory(rows: int, against: str | None) -> int:
        config = BenchTrainConfig(batch_rows=(rows,), seq_len=(9,), threads=(1,), against=against)
        return plan_bench(None, "tiny", config).memory_bytes

    assert memory(3, None) - memory(2, None) == 8 * 10 * 4
    assert memory(3, "transformers") - memory(2, "transformers") == 8 * 10 * 12
    with pytest.raises(ResourceError, match="bytes of memory"):
        memory(10**9, None)


@pytest.mark.parametrize("seed", [-1, 1 << 63])
def test_a_seed_that_some_generator_does_not_take_is_refused(seed: int) -> None:
    with pytest.raises(ConfigError, match="--seed must be"):
        plan_bench(None, "tiny", BenchTrainConfig(seed=seed))


def test_a_sweep_beyond_the_machines_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_plan, "available_memory_bytes", lambda: 1 << 20)
    with pytest.raises(ResourceError, match="bytes of memory"):
        plan_bench(None, "tiny", BenchTrainConfig(seq_len=(8,)))


def test_an_unknown_dtype_or_a_missing_peer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="int8"):
        plan_bench(None, "tiny", BenchDecodeConfig(dtype=("int8",)))
    monkeypatch.setattr(bench_peer, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match="not installed"):
        plan_bench(None, "tiny", BenchDecodeConfig(against="transformers"))


def test_a_baseline_is_looked_at_before_anything_is_measured(tmp_path: Path) -> None:
    plan = plan_bench(None, "tiny", BenchDecodeConfig(tokens=(4,), threads=(1,)))
    row = BenchRow(plan.report().cases[0].name, 1.0, None, 1.0, 0.0, 1.0, None, None)
    machine = Environment("c", 1, "3", {}, 0.0)
    report = BenchReport("decode", {"shape_sha256": plan.source.shape_sha256}, machine, None, [row])
    path = tmp_path / "base.json"
    path.write_bytes(msgspec.json.encode(report))
    plan_bench(None, "tiny", BenchDecodeConfig(tokens=(4,), threads=(1,)), baseline=path)
    with pytest.raises(DataError, match="another shape"):
        plan_bench(None, "nanogpt-cpu", BenchDecodeConfig(tokens=(4,), threads=(1,)), baseline=path)
    with pytest.raises(DataError, match="no case such as"):
        plan_bench(None, "tiny", BenchDecodeConfig(tokens=(5,), threads=(1,)), baseline=path)
    with pytest.raises(MissingError):
        plan_bench(None, "tiny", BenchDecodeConfig(tokens=(4,)), baseline=tmp_path / "none")


@pytest.mark.skipif(not available(), reason="no kernels")
def test_llama_cpp_is_beside_a_quantised_model_only_with_the_file_it_is_in(
    tiny_model: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_plan, "peer_library", lambda _: Path("libllama.so"))
    monkeypatch.setattr(bench_plan, "check_peer", lambda *_: None)
    shape = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64, "vocab_size": 40}
    file = coded_gguf(tmp_path / "a.gguf", random_model(case_config("llama", shape)), {"ffn": "Q4_0"})
    config = BenchDecodeConfig(tokens=(4,), against="llama.cpp")
    assert plan_bench(file, None, config).engines == ("llmkit", "llama.cpp")
    folder = tiny_model()
    monkeypatch.setattr(BenchSource, "coded_bytes", lambda *_: 1)  # as if of codes
    with pytest.raises(UsageError, match=r"--weights stored: llama.cpp does not read"):
        plan_bench(folder, None, config)
    assert plan_bench(folder, None, replace(config, weights=("int8",))).library is not None
