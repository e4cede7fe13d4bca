"""What a bench will measure and take, worked out before any weight is read: the sweep, memory, the peer."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from llmkit.errors import ConfigError, ResourceError, UsageError
from llmkit.estimate.architecture_of import architecture_of
from llmkit.estimate.cache import contiguous_cache_bytes
from llmkit.estimate.stored import NumbersAlone
from llmkit.estimate.weight_bytes import weight_bytes
from llmkit.formats.gguf.magic import is_gguf
from llmkit.machine import available_memory_bytes
from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import DTYPES, dtype_of
from llmkit.probe.bench import OURS
from llmkit.probe.config import (
    AUTO,
    BenchDecodeConfig,
    BenchEngineConfig,
    BenchKind,
    BenchLoadConfig,
    BenchModelConfig,
    BenchPrefillConfig,
    BenchTrainConfig,
)
from llmkit.probe.machine_speed import STREAM_BYTES
from llmkit.workflows.bench import decode as bench_decode
from llmkit.workflows.bench import load as bench_load
from llmkit.workflows.bench import prefill as bench_prefill
from llmkit.workflows.bench import train as bench_train
from llmkit.workflows.bench.case import Point, case_name, sweep
from llmkit.workflows.bench.kernels import STORED, coded_bytes, packed_bytes, runs_on_kernels
from llmkit.workflows.bench.llama import LLAMA_CPP
from llmkit.workflows.bench.peer import TRANSFORMERS, check_peer, peer_library, peer_name
from llmkit.workflows.bench.report import check_comparable
from llmkit.workflows.bench.source import BenchSource, open_source
from llmkit.workflows.generate.model import ONE_THREAD_BYTES

_RUNTIME_BYTES = 300_000_000
"""Memory of a process that has loaded torch and no model."""
_SEEDS = 1 << 63
"""That torch and NumPy both take."""
_WEIGHT_BYTES, _MOMENT_BYTES = 8, 8
"""Of a parameter in training: weight and gradient, and the optimiser's two moments for each engine."""


@dataclass(frozen=True)
class BenchPlan:
    """What will be measured, and what it takes."""

    kind: BenchKind
    source: BenchSource
    points: list[Point]
    engines: tuple[str, ...]
    library: Path | None
    """llama.cpp's, where it is the peer."""
    memory_bytes: int
    """Predicted: weights, caches, optimiser state and rows to train on, without activations."""

    rounds: int

    @property
    def parameters(self) -> int:
        """Of the model."""
        return architecture_of(self.source.config).parameters

    def report(self) -> "PlanReport":
        """For `--dry-run`."""
        return PlanReport(
            bench=self.kind,
            model=self.source.name,
            parameters=self.parameters,
            rounds=self.rounds,
            memory_bytes=self.memory_bytes,
            cases=[
                PlannedCase(name=case_name(engine, point), engine=engine, case=point)
                for point in self.points
                for engine in self.engines
            ],
        )


class PlannedCase(msgspec.Struct, frozen=True, kw_only=True):
    """One case to come, named as its row will be."""

    name: str
    engine: str
    case: Point


class PlanReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report of `--dry-run`."""

    schema: str = "llmkit.bench-plan/1"
    bench: BenchKind
    model: str
    parameters: int
    rounds: int
    memory_bytes: int
    cases: list[PlannedCase]


def plan_bench(
    model: Path | None, preset: str | None, config: BenchModelConfig, *, baseline: Path | None = None
) -> BenchPlan:
    """Resolve the sweep and check everything that can be checked without the weights.

    Args:
        model: a folder, or a config.json for a shape with random weights.
        preset: a shape by name, with random weights. One of the two is given.
        config: BenchPrefillConfig, BenchDecodeConfig, BenchTrainConfig or BenchLoadConfig: which bench it is.
        baseline: an earlier report to compare with afterwards; read now, so that a wrong one costs no time.

    Raises:
        UsageError, ConfigError: no model or two, or a case that the model cannot have.
        MissingError, DataError: no such model or baseline, or a damaged one or another's; no such peer.
        ResourceError: not enough memory.
    """
    rounded = config.weights if isinstance(config, BenchEngineConfig) else (STORED,)
    check_peer(config.against, kind_of(config), rounded)
    if not 0 <= config.seed < _SEEDS:
        raise ConfigError(f"--seed must be from 0 to 2^63 - 1 (found {config.seed})", hint="--seed 0")
    source = open_source(model, preset)
    points = _points(source.config, config)
    if isinstance(config, BenchLoadConfig):
        bench_load.check(source)
    else:
        kinds = {"prefill": bench_prefill, "decode": bench_decode, "train": bench_train}
        for point in points:
            kinds[kind_of(config)].check(source.config, point)
            if isinstance(config, BenchEngineConfig):
                runs_on_kernels(str(point["dtype"]), str(point["weights"]), config.kernels)
    _check_peers_file(source, config)
    if baseline is not None:
        names = [case_name(OURS, point) for point in points]
        check_comparable(baseline, kind_of(config), {"shape_sha256": source.shape_sha256}, names)
    peer = peer_name(config.against)
    engines = (OURS,) if peer is None else (OURS, peer)
    memory = _RUNTIME_BYTES + STREAM_BYTES * 2 + _model_bytes(source, config, points, engines)
    available = available_memory_bytes()
    if available is not None and memory > available:
        raise ResourceError(
            f"the sweep takes about {memory:,} bytes of memory (found {available:,} available)",
            hint="fewer or smaller cases, one --dtype at a time, or a smaller model",
        )
    library = peer_library(config.against)
    return BenchPlan(kind_of(config), source, points, engines, library, memory, config.rounds)


def kind_of(config: BenchModelConfig) -> BenchKind:
    """Which bench a configuration is of."""
    kinds: dict[type, BenchKind] = {
        BenchPrefillConfig: "prefill",
        BenchDecodeConfig: "decode",
        BenchTrainConfig: "train",
        BenchLoadConfig: "load",
    }
    return kinds[type(config)]


def _points(model: ModelConfig, config: BenchModelConfig) -> list[Point]:
    """The sweep, with what was left open resolved as the command itself would; each point once."""
    sizes: dict[str, tuple[int, ...]]
    if isinstance(config, BenchPrefillConfig):
        sizes = {"prompt": config.prompt, "depth": config.depth}
    elif isinstance(config, BenchDecodeConfig):
        sizes = {"tokens": config.tokens, "depth": config.depth, "batch": config.batch}
    elif isinstance(config, BenchLoadConfig):
        sizes = {}
    else:
        assert isinstance(config, BenchTrainConfig)
        sizes = {"batch_rows": config.batch_rows, "seq_len": config.seq_len}
    weights = {"weights": config.weights} if isinstance(config, BenchEngineConfig) else {}
    points: list[Point] = []
    for point in sweep({**sizes, "threads": config.threads or (AUTO,), "dtype": config.dtype, **weights}):
        resolved = _resolve(model, kind_of(config), point)
        if resolved not in points:
            points.append(resolved)
    return points


def _resolve(model: ModelConfig, kind: BenchKind, point: Point) -> Point:
    dtype, threads = str(point["dtype"]), point["threads"]
    if dtype not in (AUTO, *DTYPES):
        raise ConfigError(f"--dtype {dtype}: no such dtype", hint=f"--dtype {','.join(DTYPES)}")
    if kind == "train":
        dtype = bench_train.resolve_dtype(model, dtype)
        if threads == AUTO:
            threads = bench_train.resolve_threads(model, int(point["batch_rows"]), int(point["seq_len"]))
    else:
        dtype = str(dtype_of(model)).removeprefix("torch.") if dtype == AUTO else dtype
        if threads == AUTO:
            small = _weight_bytes(model, dtype) < ONE_THREAD_BYTES
            threads = 1 if small else torch.get_num_threads()
    return {**point, "threads": threads, "dtype": dtype}


def _check_peers_file(source: BenchSource, config: BenchModelConfig) -> None:
    """That llama.cpp gets as many bits as our kernels read: of a quantised model it needs its own file.

    Raises:
        UsageError: there is none.
    """
    if not isinstance(config, BenchEngineConfig) or peer_name(config.against) != LLAMA_CPP:
        return
    if STORED not in config.weights or source.folder is None or is_gguf(source.folder):
        return
    if any(source.coded_bytes(dtype) is not None for dtype in DTYPES):
        raise UsageError(
            f"--against {LLAMA_CPP} --weights {STORED}: llama.cpp does not read {source.folder}",
            hint="llmkit quantize --format gguf, and name that file; or --weights int8,int4",
        )


def _model_bytes(
    source: BenchSource, config: BenchModelConfig, points: list[Point], engines: tuple[str, ...]
) -> int:
    """Weights once for each dtype, which transformers shares, and what each case keeps; packed ones beside
    them, or codes in their place; llama.cpp maps a file and may lay it out anew."""
    model, has_llama = source.config, LLAMA_CPP in engines
    if isinstance(config, BenchTrainConfig):
        rows = sum(bench_train.row_bytes(point, len(engines)) for point in points)
        return architecture_of(model).parameters * (_WEIGHT_BYTES + _MOMENT_BYTES * len(engines)) + rows
    if isinstance(config, BenchLoadConfig):
        return max(_weight_bytes(model, str(point["dtype"])) for point in points)  # one at a time
    assert isinstance(config, BenchEngineConfig)
    positions = bench_prefill if isinstance(config, BenchPrefillConfig) else bench_decode
    architecture = architecture_of(model)
    caches = (
        contiguous_cache_bytes(
            architecture,
            str(point["dtype"]),
            context=positions.cache_positions(point),
            batch=len(engines) * int(point.get("batch", 1)),
        )
        for point in points
    )
    formats = {(str(point["dtype"]), str(point["weights"])) for point in points}
    coded = {kind: coded_bytes(source, *kind, config.kernels) for kind in formats}
    dtypes = {kind[0] for kind in formats if coded[kind] is None or TRANSFORMERS in engines}
    copies = sum(
        (coded[dtype, weights] or packed_bytes(architecture.parameters, dtype, weights))
        * (int(runs_on_kernels(dtype, weights, config.kernels)) + 2 * int(has_llama))
        for dtype, weights in formats
    )
    return sum(_weight_bytes(model, dtype) for dtype in dtypes) + copies + sum(caches)


def _weight_bytes(model: ModelConfig, dtype: str) -> int:
    return weight_bytes(architecture_of(model), NumbersAlone(dtype)).nbytes
