"""The unknown of an estimate: how long, how many, how narrow, or how large a model the memory allows."""

import msgspec
from msgspec.structs import replace

from llmkit.errors import ConfigError, GateFailed, UsageError
from llmkit.estimate.config import EstimateConfig, Unknown
from llmkit.estimate.dtypes import FLOATS
from llmkit.workflows.kv_estimate.kv_estimate import estimate
from llmkit.workflows.kv_estimate.models import ModelSources, SizedModel, read_models
from llmkit.workflows.kv_estimate.report import KVEstimate

LADDER = ("float32", "bfloat16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m", "q2_k")
"""Ways to store weights, wide to narrow: the floats, and the GGUF files that llama.cpp users choose among."""
_WORDS = {"context": "context", "batch": "batch", "quant": "format", "parameters": "number of parameters"}


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """A model in one format."""

    dtype: str
    weights_bytes: int
    total_bytes: int
    fits: bool


class Solution(msgspec.Struct, frozen=True, kw_only=True):
    """What fits. Null: nothing does, or (where `unbounded`) everything."""

    schema: str = "llmkit.kv-estimate.solution/1"
    model: str | None
    unknown: Unknown
    memory_bytes: int
    context: int | None
    """Given, or solved for; likewise the next three."""
    batch: int | None
    dtype: str | None
    parameters: int | None
    bits_per_weight: float | None
    unbounded: bool = False
    largest_positions: int | None = None
    """What the model was made for: an answer beyond it is memory's, not the model's."""
    rungs: list[Rung] = msgspec.field(default_factory=list)
    """Every format that was tried, for `quant`."""

    @property
    def answer(self) -> int | str | None:
        """The value of the unknown."""
        value: int | str | None = getattr(self, "dtype" if self.unknown == "quant" else self.unknown)
        return value


def solve_models(sources: ModelSources, settings: EstimateConfig) -> list[Solution]:
    """The answer for each model.

    Raises:
        UsageError: settings ask for no unknown, or give the one that is asked for.
    """
    return [solve(model, settings) for model in read_models(sources)]


def check_solved(solutions: list[Solution]) -> None:
    """Fail where nothing fits.

    Raises:
        GateFailed: names the first model for which nothing does.
    """
    for one in solutions:
        if one.answer is None and not one.unbounded:
            raise GateFailed(
                f"{one.model or 'the model'}: no {_WORDS[one.unknown]} fits {one.memory_bytes:,} bytes",
                hint="more memory, or less of what is given: --context, --batch, --dtype, --kv-dtype",
            )


def solve(model: SizedModel, settings: EstimateConfig) -> Solution:
    """The largest context or batch, the widest format, or the most parameters that fit.

    Raises:
        UsageError: settings ask for no unknown, or give the one that is asked for.
        ConfigError: as `estimate`.
    """
    unknown, memory = settings.solve, settings.memory_bytes
    if unknown is None or memory is None:
        raise UsageError("nothing to solve for", hint="--memory 24GiB --solve context")
    batch = settings.batch if settings.batch > 1 else None
    given = {"context": settings.context, "batch": batch, "quant": settings.dtype}.get(unknown)
    if given is not None:
        flag = "dtype" if unknown == "quant" else unknown
        raise UsageError(f"--{flag} is given, and --solve asks for it", hint=f"leave out --{flag}")
    if unknown == "quant":
        return _widest(model, settings, memory)
    one = estimate(model, settings)
    answers = _solution(one, unknown, memory)
    if unknown == "context":
        return _bounded(answers, "context", one.largest_context)
    if unknown == "batch":
        return _bounded(answers, "batch", one.largest_batch)
    room = memory - one.kv_bytes - (one.activations_bytes or 0)
    most = room * (one.parameters or 0) // (one.weights_bytes or 1) if room > 0 else None
    return replace(answers, parameters=most)


def _widest(model: SizedModel, settings: EstimateConfig, memory: int) -> Solution:
    """The widest format of the ladder in which the model fits."""
    settings = replace(settings, kv_dtype=settings.kv_dtype or "bfloat16")  # the same for every rung
    rungs: list[Rung] = []
    for dtype in LADDER:
        try:
            one = estimate(model, replace(settings, dtype=dtype))
        except ConfigError:
            if dtype in FLOATS:
                raise  # not the format's fault
            continue  # llama.cpp has no such model, or no such format for one of its matrices
        rungs.append(
            Rung(
                dtype=dtype,
                weights_bytes=one.weights_bytes or 0,
                total_bytes=one.total_bytes or 0,
                fits=bool(one.fits),
            )
        )
    best = next((rung.dtype for rung in rungs if rung.fits), None)
    answers = _solution(one, "quant", memory)
    return replace(answers, dtype=best, bits_per_weight=None, rungs=rungs)


def _solution(one: KVEstimate, unknown: Unknown, memory: int) -> Solution:
    return Solution(
        model=one.model,
        unknown=unknown,
        memory_bytes=memory,
        context=one.context,
        batch=one.batch,
        dtype=one.dtype,
        parameters=one.parameters,
        bits_per_weight=one.bits_per_weight,
        largest_positions=one.max_position_embeddings,
    )


def _bounded(answers: Solution, name: str, found: int | None) -> Solution:
    """None is no bound, and 0 is nothing."""
    return replace(answers, **{name: found or None}, unbounded=found is None)
