"""llmkit mix: a mixture of sources in given proportions, the same every time.

measure  some input   sizes, licences, digests
choose   one          lots are drawn; the order of the result
take     some input   documents that are taken are put aside
part     some result  parts of the result
"""

import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec

from llmkit.errors import GateFailed, UsageError
from llmkit.formats.atomic import write_atomic
from llmkit.formats.digest import digest_inputs
from llmkit.formats.json_text import json_text
from llmkit.formats.provenance import Invocation, write_provenance
from llmkit.formats.streams import open_output
from llmkit.progress import SILENT, Progress
from llmkit.workflows.corpus_files import join_parts, work_folder
from llmkit.workflows.mix.choose import Chosen
from llmkit.workflows.mix.job import (
    MixJob,
    choose_documents,
    fingerprint_of_mix,
    phases_of,
    portable_call,
    resolve_mix,
    with_spooled,
    write_parts,
)
from llmkit.workflows.mix.measure import WORK
from llmkit.workflows.mix.options import MixFiles, MixSettings
from llmkit.workflows.mix.report import MixReport, make_report
from llmkit.workflows.mix.write import rejects_of
from llmkit.workflows.unit_folder import finish_units, unit_folder

PACKAGES = ("numpy", "xxhash", "msgspec", "zstandard")


def mix_documents(
    files: MixFiles,
    settings: MixSettings,
    *,
    invocation: Invocation,
    progress: Progress = SILENT,
) -> MixReport:
    """Mix documents of several sources.

    Args:
        files: where things go, and who does the work.
        settings: what is mixed.
        invocation: goes into `llmkit.json` of a folder.
        progress: told how far it is.

    Raises:
        AlreadyDone: this is a shard, and all shards are done.
        UsageError: flags that do not go together, or an output that exists or is an input.
        DataError, MissingError: of the readers, or a source without any document that may be taken.
        StoppedResumable: stopped, or other shards are not there yet.
    """
    begin = time.monotonic()
    job = resolve_mix(files, settings, invocation)
    chosen = _to_folder(job, invocation, progress) if files.is_folder else _to_file(job, progress)
    report = make_report(
        job.settings,
        chosen,
        out="-" if files.out is None else str(files.out),
        seconds=time.monotonic() - begin,
    )
    if files.report is not None:
        write_atomic(files.report, json_text(msgspec.to_builtins(report)))
    return report


def plan_mix(files: MixFiles, settings: MixSettings, *, progress: Progress = SILENT) -> MixReport:
    """What `mix_documents` would write: all documents are looked at once, and nothing is written."""
    begin = time.monotonic()
    job = resolve_mix(files, settings)
    with tempfile.TemporaryDirectory(prefix="llmkit-mix-") as name:
        job = with_spooled(job, Path(name))
        chosen, _ = choose_documents(job, phases_of(job, Path(name), "plan", progress))
    return make_report(job.settings, chosen, out=None, seconds=time.monotonic() - begin)


def _to_file(job: MixJob, progress: Progress) -> Chosen:
    """One file or stdout, by way of a folder that goes when it is done."""
    files = job.files
    with ExitStack() as stack:
        inputs = job.every_input
        rejects = None
        if files.rejects is not None:
            rejects = stack.enter_context(open_output(files.rejects, force=files.force, inputs=inputs))
        folder = stack.enter_context(work_folder(files.out, "mix"))
        job = with_spooled(job, folder)
        phases = phases_of(job, folder, "mix", progress)
        chosen, names = choose_documents(job, phases)
        parts = write_parts(job, phases, chosen, names, ".jsonl")
        if rejects is not None:
            join_parts((rejects_of(folder, name) for name in names), rejects)
        out = stack.enter_context(open_output(files.out, force=files.force, inputs=inputs))
        join_parts((folder / receipt.outputs[0].path for receipt in parts), out)
    return chosen


def _to_folder(job: MixJob, invocation: Invocation, progress: Progress) -> Chosen:
    """A folder of parts, that is gone on with when it was stopped."""
    files = job.files
    assert files.out is not None
    key = fingerprint_of_mix(job, "mix")
    with unit_folder(files.out, key, shared=files.shard is not None) as folder:
        phases = phases_of(job, folder, "mix", progress)
        chosen, names = choose_documents(job, phases)
        write_parts(job, phases, chosen, names, ".jsonl.zst")

    def close(folder: Path) -> None:
        if files.rejects is not None:
            with open_output(files.rejects, force=True) as stream:
                join_parts((rejects_of(folder, name) for name in names), stream)
        shutil.rmtree(folder / WORK)
        write_provenance(
            folder,
            portable_call(invocation, job.settings),
            inputs=digest_inputs(job.every_file),
            tokenizer_sha256=job.settings.tokenizer_sha256,
            packages=PACKAGES,
        )

    finished = finish_units(files.out, phases.done, key, close, beside=[files.rejects])
    if finished is None and files.shard is None:
        raise UsageError(f"{files.out}: another process is finishing it", hint="wait for it")
    return chosen


def check_dry(report: MixReport) -> None:
    """Check that every source gave what its weight asks for.

    Raises:
        GateFailed: some ran dry.
    """
    if report.dry:
        raise GateFailed(
            f"--strict: {', '.join(report.dry)} ran dry ({report.achieved:,} of {report.target:,.0f} "
            f"{report.by})",
            hint="more text, other weights, more epochs (NAME=PATH:WEIGHT:EPOCHS), or --on-exhaust repeat",
        )
