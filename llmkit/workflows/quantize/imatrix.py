"""What a text puts into every matrix of a model, written as llama-quantize reads it."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from llmkit.errors import UsageError
from llmkit.formats.atomic import atomic_file, refuse_existing
from llmkit.formats.gguf.imatrix import write_imatrix
from llmkit.progress import SILENT, Progress
from llmkit.quant.importance import importance_of
from llmkit.workflows.quantize.job import QuantizeJob


class ImatrixReport(msgspec.Struct, frozen=True, kw_only=True):
    """An importance matrix that was written."""

    schema: str = "llmkit.quantize-imatrix/1"
    source: str
    out: str
    matrices: int
    """Named in it; a stack of experts is one."""
    calibration_tokens: int
    size_bytes: int
    seconds: float


def save_imatrix(
    job: QuantizeJob,
    out: Path,
    *,
    force: bool,
    progress: Progress = SILENT,
    clock: Callable[[], float] = time.perf_counter,
) -> ImatrixReport:
    """Write the importance matrix of the original model over the job's calibration text.

    Args:
        job: see `open_quantize`.
        out: the file.
        force: whether it may be there already.
        progress: hears of layers.
        clock: in seconds.

    Raises:
        UsageError: there is no calibration text, or the file is there already.
        ConfigError: llama.cpp has no such family.
    """
    begun = clock()
    config, ids = job.config, job.calibration
    if ids is None:
        raise UsageError("--save-imatrix says what a text puts in", hint="add --calibration FILE")
    read = [job.source.path, *config.calibration, *config.score]
    refuse_existing(out, force=force, inputs=read, is_file=True)
    with job.workers() as workers:
        found = importance_of(job.source.load(), ids, workers=workers, progress=progress)
    names = [path.name for path in config.calibration]
    with atomic_file(out) as stream:
        write_imatrix(stream, found, datasets=names, chunks=len(ids), chunk_size=ids.shape[1])
    return ImatrixReport(
        source=str(job.source.path),
        out=str(out),
        matrices=len(found),
        calibration_tokens=ids.numel(),
        size_bytes=out.stat().st_size,
        seconds=clock() - begun,
    )
