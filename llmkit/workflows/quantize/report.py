"""What `llmkit quantize` says of a model that it rounded, or is going to."""

from collections.abc import Mapping

import msgspec

from llmkit.quant.divergence import QualityReport
from llmkit.quant.kept_matrix import KeptMatrix
from llmkit.quant.plan import PlanUnit, QuantPlan


class UnitRow(msgspec.Struct, frozen=True, kw_only=True):
    """Tensors that share a grid."""

    name: str
    """Of the first."""
    tensors: int
    stored_as: str
    parameters: int
    size_bytes: int
    bits_per_weight: float
    noise: float | None
    """Mean square of what rounding added over that of the weights; None where nothing was rounded."""
    output_noise: float | None
    """The same of the matrices' outputs over the calibration text."""
    reason: str
    """Why it is stored so, where that is no matter of course."""


class QuantizeReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run, or its plan."""

    schema: str = "llmkit.quantize/1"
    source: str
    out: str | None
    model_type: str
    container: str
    type: str
    method: str
    parameters: int
    bits_per_weight: float
    """Of all tensors."""
    size_bytes: int
    """Of all files."""
    source_bytes: int
    calibration_tokens: int
    imatrix: str | None
    """The importance matrix in place of calibration text."""
    scored_tokens: int
    quality: QualityReport | None
    """Against the original, over the scored text; None without one."""
    units: list[UnitRow]
    notes: list[str]
    seconds: float
    written: bool
    """False of a plan, and where a gate was missed."""


class SweepRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one type costs and gives."""

    schema: str = "llmkit.quantize-sweep/1"
    type: str
    container: str
    bits_per_weight: float
    size_bytes: int
    quality: QualityReport | None
    seconds: float


def unit_rows(plan: QuantPlan, rounded: Mapping[str, KeptMatrix]) -> list[UnitRow]:
    """One row for each unit, with the noise of what was rounded in it."""
    return [_row(unit, rounded) for unit in plan.units]


def _row(unit: PlanUnit, rounded: Mapping[str, KeptMatrix]) -> UnitRow:
    found = [
        matrix
        for name, matrix in rounded.items()
        if name.partition("[")[0] in unit.names and unit.grid is not None
    ]
    outputs = [matrix.output_noise for matrix in found if matrix.output_noise is not None]
    return UnitRow(
        name=unit.name,
        tensors=len(unit.names),
        stored_as=unit.stored_as,
        parameters=unit.parameters,
        size_bytes=unit.nbytes,
        bits_per_weight=unit.bits,
        noise=sum(matrix.noise for matrix in found) / len(found) if found else None,
        output_noise=sum(outputs) / len(outputs) if outputs else None,
        reason=unit.reason,
    )
