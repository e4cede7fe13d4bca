"""What `llmkit merge` says it did, or will do. No torch."""

import msgspec

from llmkit.workflows.convert.check import CheckReport


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model that takes part."""

    name: str
    """The expression's, or `base`, or `model 1`, …"""
    path: str
    dtype: str
    """How most of its weights are kept."""
    quantised: bool
    """Its matrices become plain numbers on the way."""
    weight: float | None = None
    """What it counts for; None where the job has no weights."""
    density: float | None = None


class AdapterRow(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter that is folded in."""

    path: str
    scale: float
    matrices: int
    """With low-rank factors."""
    saved: int
    """Tensors that it has whole (modules_to_save)."""
    ranks: list[int]
    variant: str
    """lora, rslora, dora, or both words."""


class TensorRow(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor of the output's files."""

    name: str
    dtype: str
    shape: list[int]
    size_bytes: int
    source: str
    """What it is made of."""


class MatrixRow(msgspec.Struct, frozen=True, kw_only=True):
    """A matrix whose difference was put into an adapter."""

    name: str
    shape: list[int]
    rank: int
    explained: float
    """Share of the difference's energy (the sum of its squares) that is kept."""
    norm: float
    """Of the difference: the root of that sum."""


class MergeReport(msgspec.Struct, frozen=True, kw_only=True):
    """A merge."""

    schema: str = "llmkit.merge/1"
    job: str
    """adapters, method, expression or extract."""
    out: str
    model_type: str
    models: list[ModelRow]
    adapters: list[AdapterRow] = []
    method: str | None = None
    expression: str | None = None
    into: str | None = None
    """What adapters of a quantised base went into: `dequantised`, or `original`."""
    dtype: str
    parameters: int
    tensors: int
    changed: int
    """Tensors that are not just the first model's."""
    size_bytes: int
    """Of the tensors' numbers, without the files' headers."""
    files: int
    memory_bytes: int
    """About what the work takes at once, beside the program."""
    tokenizer_sha256: str | None = None
    notes: list[str] = []
    rows: list[TensorRow] = []
    """Of a plan: every tensor."""
    matrices: list[MatrixRow] = []
    """Of an extraction: every matrix of the adapter."""
    explained: float | None = None
    """Of an extraction: the share over all matrices."""
    left_out: list[str] = []
    """Of an extraction: tensors that differ and that an adapter of matrices cannot hold."""
    check: CheckReport | None = None
    quantised_difference: float | None = None
    """Largest one of logits to the quantised base with the adapter, where it went into the original."""
    written: bool
    """False of a plan, and where the check failed."""
