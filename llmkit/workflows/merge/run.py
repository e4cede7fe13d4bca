"""One merge, whichever job it is: planned, or done."""

from pathlib import Path

from llmkit.formats.provenance import Invocation
from llmkit.progress import SILENT, Progress
from llmkit.workflows.merge.extract import extract, open_extract, plan_extract
from llmkit.workflows.merge.job import open_merge
from llmkit.workflows.merge.merge import merge, plan_merge
from llmkit.workflows.merge.options import MergeConfig
from llmkit.workflows.merge.report import MergeReport


def run_merge(
    config: MergeConfig,
    out: Path,
    *,
    dry_run: bool,
    force: bool,
    invocation: Invocation,
    progress: Progress = SILENT,
) -> MergeReport:
    """Plan a merge, or do it.

    Args:
        config: what is asked for.
        out: the folder to write.
        dry_run: only say what would be written.
        force: replace what is there.
        invocation: told in llmkit.json.
        progress: hears of bytes, or of groups of matrices.

    Raises:
        UsageError, ConfigError, DataError, MissingError, ResourceError: see `open_merge`, `open_extract`,
            `merge` and `extract`.
    """
    if config.job == "extract":
        found = open_extract(config, out, force=force, invocation=invocation)
        return plan_extract(found) if dry_run else extract(found, progress=progress)
    job = open_merge(config, out, force=force, invocation=invocation)
    return plan_merge(job) if dry_run else merge(job, progress=progress)
