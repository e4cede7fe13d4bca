"""How the bytes of an estimate come about, line by line: formula, numbers, result, source."""

from collections import Counter

import msgspec

from llmkit.estimate.config import EstimateConfig
from llmkit.estimate.dtypes import STORAGE
from llmkit.estimate.explain import layers_formula
from llmkit.workflows.kv_estimate.kv_estimate import cache_settings
from llmkit.workflows.kv_estimate.models import SizedModel
from llmkit.workflows.kv_estimate.report import KVEstimate

_HEADER = "safetensors or GGUF header"
_LAYOUT = "Hugging Face file layout of this model_type"


class ExplainedLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line: `formula` in names, `numbers` the same in figures, and what they come to."""

    what: str
    formula: str
    numbers: str
    result: int
    unit: str
    source: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate taken apart. Lines of one unit and section add up to the estimate's own figure."""

    schema: str = "llmkit.kv-estimate.explain/1"
    model: str | None
    parameters: list[ExplainedLine]
    weights: list[ExplainedLine]
    kv_cache: list[ExplainedLine]


def explain(model: SizedModel, one: KVEstimate, settings: EstimateConfig) -> Explanation:
    """The estimate `one` of a model, taken apart."""
    weights: list[ExplainedLine] = []
    if one.weights_bytes is not None and one.parameters is not None:
        split = f" / {settings.tensor_parallel} devices" if settings.tensor_parallel > 1 else ""
        formats = one.weights_bytes_by_format or {one.dtype or "": one.weights_bytes}
        source = _HEADER if one.weights_source == "files" else "its block and scale layout"
        each = {name: _numbers(name, nbytes, one.parameters) for name, nbytes in formats.items()}
        weights = [
            ExplainedLine(
                what=f"weights in {name}",
                formula="parameters x bytes" if each[name] else f"tensors kept in {name}{split}",
                numbers=each[name] or f"{nbytes:,}",
                result=nbytes,
                unit="bytes",
                source=source,
            )
            for name, nbytes in formats.items()
        ]
    lines = layers_formula(model.architecture, cache_settings(model, settings), one.context, one.batch)
    return Explanation(
        model=model.name,
        parameters=_parameters(model),
        weights=weights,
        kv_cache=[
            ExplainedLine(
                what=line.what,
                formula=line.formula,
                numbers=line.numbers,
                result=line.nbytes,
                unit="bytes",
                source=line.source,
            )
            for line in lines
        ],
    )


def _numbers(name: str, nbytes: int, parameters: int) -> str:
    """All parameters in one dtype, as a product; empty where it is none."""
    storage = STORAGE.get(name)
    if storage is None or parameters * storage.bytes_per_value != nbytes:
        return ""
    return f"{parameters:,} x {storage.bytes_per_value:g}"


def _parameters(model: SizedModel) -> list[ExplainedLine]:
    """A line for each sort of tensor; together they are all parameters."""
    sorts = Counter[tuple[str, str, tuple[int, ...]]]()
    for tensor in model.architecture.tensors:
        sorts[tensor.part, tensor.module, tensor.shape] += tensor.copies
    lines = []
    for (part, module, shape), count in sorts.items():
        size = " x ".join(f"{side:,}" for side in shape) or "1"
        total = count
        for side in shape:
            total *= side
        lines.append(
            ExplainedLine(
                what=f"{part}: {module}",
                formula="tensors x shape",
                numbers=f"{count:,} x {size}",
                result=total,
                unit="parameters",
                source=_LAYOUT,
            )
        )
    return lines
