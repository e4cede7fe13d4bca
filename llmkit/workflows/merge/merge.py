"""A model written that is made of others: adapters folded into a base, or models mixed tensor by tensor."""

import msgspec
import torch

from llmkit.formats.atomic import atomic_folder
from llmkit.formats.digest import digest_file
from llmkit.formats.provenance import write_provenance
from llmkit.model.save import save_config
from llmkit.model.transformer import Transformer
from llmkit.progress import SILENT, Progress
from llmkit.quant.workers import Workers
from llmkit.workflows.convert.check import NotAlikeError
from llmkit.workflows.merge.check import MergeCheck, check_merged
from llmkit.workflows.merge.job import MergeJob
from llmkit.workflows.merge.report import MergeReport
from llmkit.workflows.merge.source import merged_generation
from llmkit.workflows.merge.write import write_folder

PACKAGES = ("torch", "numpy", "safetensors", "tokenizers")


def plan_merge(job: MergeJob) -> MergeReport:
    """What `merge` would write, tensor by tensor; no weight is read."""
    return msgspec.structs.replace(job.report(), rows=job.rows())


def merge(job: MergeJob, *, progress: Progress = SILENT) -> MergeReport:
    """Write the merged model, whole or not at all.

    Args:
        job: see `open_merge`.
        progress: hears of bytes.

    Returns:
        the report; not `written` where the check failed.

    Raises:
        DataError: a file is damaged, or a number is beyond the dtype.
    """
    report = job.report()
    try:
        found = _write(job, progress)
    except NotAlikeError as failed:
        found = failed.report
        return msgspec.structs.replace(
            report, check=found.check, quantised_difference=found.quantised_difference
        )
    if found is None:
        return msgspec.structs.replace(report, written=True)
    return msgspec.structs.replace(
        report, check=found.check, quantised_difference=found.quantised_difference, written=True
    )


def _write(job: MergeJob, progress: Progress) -> MergeCheck | None:
    source = job.companion.source
    with atomic_folder(job.out) as folder:
        with torch.device("meta"):
            model = Transformer(job.model_config)
        generation = merged_generation(job.companion, [one.path for one in job.config.adapters])
        save_config(model, folder, dtype=job.dtype, generation=generation)
        with Workers(job.threads) as workers:
            write_folder(job.plan, folder, job.make, workers, job.threads, progress)
        source.copy_tokenizer(folder)
        source.copy_steps(folder)
        write_provenance(
            folder,
            job.invocation,
            inputs=_digests(job),
            tokenizer_sha256=None if source.tokenizer is None else source.tokenizer.sha256,
            packages=PACKAGES,
        )
        if not job.config.check:
            return None
        found = check_merged(job, folder)
        if not found.check.passed:
            raise NotAlikeError(found)
        return found


def _digests(job: MergeJob) -> dict[str, str]:
    """SHA-256 of every input file: `MODEL/FILE`, as several folders have files of one name."""
    sources = {one.source.path: one.source.files for one in (*job.models, job.companion)}
    if job.adapters is not None:
        sources |= job.adapters.files()
    return {
        f"{path.resolve().name}/{file.name}" if path.is_dir() else file.name: digest_file(file)
        for path, files in sources.items()
        for file in files
    }
