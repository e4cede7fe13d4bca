"""What computes llmkit's cases of a bench, our kernels or torch: as `llmkit generate` decides it."""

from llmkit.engine.native.parts import why_not_natively
from llmkit.errors import ConfigError, UsageError
from llmkit.estimate.architecture_of import architecture_of
from llmkit.estimate.step_bytes import weight_bytes_read
from llmkit.kernels.packed import ROUNDED_FORMATS
from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import DTYPES
from llmkit.workflows.bench.source import BenchSource

STORED = "stored"
_BITS = {"int8": 8.5, "int4": 4.5}
"""Of a weight, its part of the scale of 32 included."""


def runs_on_kernels(dtype: str, weights: str, kernels: str) -> bool:
    """Whether our kernels compute a case.

    Args:
        dtype: of the weights before they are rounded, of arithmetic and cache.
        weights: stored, int8 or int4.
        kernels: auto, native or torch.

    Raises:
        ConfigError: no such weights.
        UsageError: the kernels are asked for, or needed, and cannot.
    """
    if weights not in (STORED, *ROUNDED_FORMATS):
        raise ConfigError(
            f"--weights {weights}: no such kind", hint=f"--weights {STORED},{','.join(ROUNDED_FORMATS)}"
        )
    asked = "--kernels native" if kernels == "native" else f"--weights {weights}"
    needed = kernels == "native" or weights != STORED
    reason: str | None = "--kernels torch"
    if kernels != "torch":
        reason = why_not_natively(dtype, "cpu")
    if needed and reason is not None:
        raise UsageError(f"{asked} needs the native kernels: {reason}", hint="leave one of them out")
    return reason is None


def coded_bytes(source: BenchSource, dtype: str, weights: str, kernels: str) -> int | None:
    """Of all weights, where our kernels take the codes of a quantised file as they are; else None.

    Raises:
        MissingError, DataError, ConfigError, UsageError: as `runs_on_kernels`; of its files.
    """
    if weights != STORED or not runs_on_kernels(dtype, weights, kernels):
        return None
    return source.coded_bytes(dtype)


def streamed_bytes(
    config: ModelConfig, dtype: str, weights: str, batch: int = 1, *, coded_bytes: int | None = None
) -> int:
    """Bytes of weights that one step reads: experts that its texts use, of tables the rows they look up.

    Args:
        coded_bytes: of all weights, where they stay the codes of their file.
    """
    architecture = architecture_of(config)
    each = _BITS.get(weights, DTYPES[dtype].itemsize * 8) / 8
    if coded_bytes is not None:
        each = coded_bytes / architecture.parameters
    return weight_bytes_read(architecture, batch=batch, bytes_per_value=each)


def packed_bytes(num_weights: int, dtype: str, weights: str) -> int:
    """About what so many weights take, packed."""
    return int(num_weights * _BITS.get(weights, DTYPES[dtype].itemsize * 8) / 8)
