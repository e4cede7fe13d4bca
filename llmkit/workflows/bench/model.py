"""llmkit bench prefill, decode, train and load: a sweep over one model, its cases in turns with a peer's."""

from collections.abc import Mapping
from contextlib import ExitStack, closing
from functools import cache
from itertools import count
from typing import Any

import torch

from llmkit.engine.module_weights import pack_model
from llmkit.engine.native.weights import PackedModel
from llmkit.formats.gguf.magic import is_gguf
from llmkit.kernels.library import available, level, set_threads
from llmkit.kernels.packed import ROUNDED_FORMATS
from llmkit.model.transformer import Transformer
from llmkit.probe.bench import OURS, BenchReport, BenchRow, Ceiling, measured, noise
from llmkit.probe.config import (
    BenchDecodeConfig,
    BenchLoadConfig,
    BenchModelConfig,
    BenchPrefillConfig,
    BenchTrainConfig,
)
from llmkit.probe.environment import read_environment
from llmkit.probe.machine_speed import SpeedProbe
from llmkit.probe.memory import PeakMemory
from llmkit.probe.timing import Timing, take_turns
from llmkit.progress import SILENT, Progress
from llmkit.train.hardware import threads_set
from llmkit.workflows.bench import decode as bench_decode
from llmkit.workflows.bench import load as bench_load
from llmkit.workflows.bench import prefill as bench_prefill
from llmkit.workflows.bench.case import BenchCase, Point, case_name
from llmkit.workflows.bench.kernels import STORED, coded_bytes, runs_on_kernels
from llmkit.workflows.bench.llama import LlamaPeer
from llmkit.workflows.bench.peer import TRANSFORMERS, as_transformers
from llmkit.workflows.bench.plan import BenchPlan
from llmkit.workflows.bench.report import refuse_busy
from llmkit.workflows.bench.train import TrainCases

PACKAGES = ("torch", "numpy", "safetensors")


def bench_model(
    plan: BenchPlan,
    config: BenchModelConfig,
    *,
    progress: Progress = SILENT,
    probe: SpeedProbe | None = None,
) -> BenchReport:
    """Measure every case of a plan, all of them in turns, the machine's own speed between the rounds.

    Args:
        plan: what to measure.
        config: that the plan was made for.
        probe: of the machine's speed; None: one of the usual size.

    Raises:
        ResourceError: the machine is busy and `config.require_quiet` is on.
    """
    environment = read_environment(*PACKAGES, *(engine for engine in plan.engines if engine != OURS))
    refuse_busy(environment, config.require_quiet)
    most = max(int(point["threads"]) for point in plan.points)
    with threads_set(most), ExitStack() as stack:
        built, computed_by = _build(plan, config, stack)
        cases = {case.name: case for case in built}
        timings, peaks, ceilings = _measure(cases, config.rounds, probe or SpeedProbe(), progress)
        rows = [_row(plan, case, timings, peaks, ceilings) for case in cases.values()]
    work = {
        "model": plan.source.name,
        "model_sha256": plan.source.sha256,
        "shape_sha256": plan.source.shape_sha256,
        "weights": "stored" if plan.source.folder is not None else f"random, seed {config.seed}",
        "parameters": plan.parameters,
        "rounds": config.rounds,
        "seed": config.seed,
        **computed_by,
    }
    listed = list(ceilings.values())
    return BenchReport(plan.kind, work, environment, noise(environment, rows), rows, ceilings=listed)


def _build(
    plan: BenchPlan, config: BenchModelConfig, stack: ExitStack
) -> tuple[list[BenchCase], dict[str, str]]:
    """Read or draw the weights, and make every case; and what computes them, where that is told."""
    has_peer = TRANSFORMERS in plan.engines
    if isinstance(config, BenchTrainConfig):
        trained = plan.source.load_to_train(config.seed)
        cases = TrainCases(trained, as_transformers(trained) if has_peer else None, config, stack)
        return [case for point in plan.points for case in cases.build(point)], {}
    if isinstance(config, BenchLoadConfig):
        return [case for point in plan.points for case in bench_load.build(plan.source, has_peer, point)], {}
    assert isinstance(config, BenchPrefillConfig | BenchDecodeConfig)
    made: list[BenchCase] = []
    weights = Weights(plan, config, stack)
    for point in plan.points:
        model, peer = weights.at(point)
        if isinstance(config, BenchPrefillConfig):
            made += bench_prefill.build(model, peer, point, config)
        else:
            made += bench_decode.build(model, peer, point, config, weights.coded_bytes(point))
    return made, weights.computed_by


class Weights:
    """The weights of a bench's points, each kind made once: a model of a dtype, packed ones, a peer's."""

    def __init__(
        self, plan: BenchPlan, config: BenchPrefillConfig | BenchDecodeConfig, stack: ExitStack
    ) -> None:
        self._plan, self._config, self._stack = plan, config, stack
        self.at_dtype = cache(self._load)
        self._packed = cache(self._pack)
        self._peers = cache(self._peer)
        self.computed_by: dict[str, str] = {}
        """For the report: our kernels' instruction set, or torch, by dtype; and llama.cpp's."""

    def at(self, point: Point) -> tuple[Transformer | PackedModel, Any]:
        """A model, packed where our kernels compute, and the peer where there is one."""
        kind = str(point["dtype"]), str(point["weights"])
        return self._packed(*kind), self._peers(*kind)

    def coded_bytes(self, point: Point) -> int | None:
        """Of all weights, where our kernels take the codes of the file."""
        return coded_bytes(
            self._plan.source, str(point["dtype"]), str(point["weights"]), self._config.kernels
        )

    def _load(self, dtype: str) -> Transformer:
        return self._plan.source.load(dtype, self._config.seed)

    def _pack(self, dtype: str, weights: str) -> Transformer | PackedModel:
        source = self._plan.source
        native = runs_on_kernels(dtype, weights, self._config.kernels)
        self.computed_by[f"kernels_{dtype}"] = f"native, {level()}" if native else "torch"
        if not native:
            return self.at_dtype(dtype)
        if coded_bytes(source, dtype, weights, self._config.kernels) is not None:
            return source.load_packed(dtype)
        return pack_model(
            self.at_dtype(dtype), ROUNDED_FORMATS.get(weights)
        )  # a peer may use the model's own

    def _peer(self, dtype: str, weights: str) -> Any:
        if self._plan.library is not None:
            file = self._plan.source.folder if weights == STORED else None
            model = file if file is not None and is_gguf(file) else self.at_dtype(dtype)
            peer = self._stack.enter_context(closing(LlamaPeer(self._plan.library, model, weights)))
            self.computed_by["llama_cpp"] = peer.system
            return peer
        return as_transformers(self.at_dtype(dtype)) if TRANSFORMERS in self._plan.engines else None


def _measure(
    cases: dict[str, BenchCase], rounds: int, probe: SpeedProbe, progress: Progress
) -> tuple[dict[str, Timing], PeakMemory, dict[tuple[int, str], Ceiling]]:
    """Timings and peaks by case, and the machine's speed by threads and dtype."""
    keys = list(dict.fromkeys(_key(case) for case in cases.values()))
    peaks, runs = PeakMemory(), len(cases) * (rounds + 1)
    done = count(1)

    def before(name: str) -> None:
        torch.set_num_threads(1 if cases[name].on_kernels else _key(cases[name])[0])
        if available():
            set_threads(_key(cases[name])[0])
        prepare = cases[name].prepare
        if prepare is not None:
            prepare()
        peaks.begin()

    def after(name: str) -> None:
        peaks.end(name)
        if (elsewhere := cases[name].memory_bytes) is not None:
            peaks.peaks[name] = elsewhere()
        progress.update(next(done), runs)

    def after_round(_: int) -> None:
        probe.measure(keys)

    timings = take_turns(
        {name: case.run for name, case in cases.items()},
        rounds,
        before=before,
        after=after,
        after_round=after_round,
    )
    return timings, peaks, {key: probe.best(*key) for key in keys}


def _row(
    plan: BenchPlan,
    case: BenchCase,
    timings: Mapping[str, Timing],
    peaks: PeakMemory,
    ceilings: Mapping[tuple[int, str], Ceiling],
) -> BenchRow:
    work, timing, ceiling = case.work, timings[case.name], ceilings[_key(case)]
    seconds = timing.median_seconds
    peers = [case_name(engine, case.point) for engine in plan.engines if engine != OURS]
    moved = None if work.bytes_moved is None else work.bytes_moved / seconds
    return BenchRow(
        name=case.name,
        engine=case.engine,
        case=case.point,
        tokens_per_second=work.tokens / seconds,
        **measured(timing, timings[peers[0]] if peers else None),
        first_token_seconds=seconds if plan.kind in ("prefill", "load") else None,
        seconds_per_token=seconds / int(case.point["tokens"]) if plan.kind == "decode" else None,
        flops=work.flops,
        flops_per_second=work.flops / seconds,
        mfu=work.flops / seconds / ceiling.flops_per_second,
        bytes_moved=work.bytes_moved,
        bytes_per_second=moved,
        mbu=None if moved is None else moved / ceiling.bytes_per_second,
        memory_bytes=peaks.peaks[case.name],
    )


def _key(case: BenchCase) -> tuple[int, str]:
    """What the machine's speed depends on."""
    return int(case.point["threads"]), str(case.point["dtype"])
