"""llmkit generate: open and check everything, then write a text for each prompt."""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from llmkit.engine.config import GenerateConfig
from llmkit.errors import GateFailed, StoppedResumable
from llmkit.formats.jsonl import OnBad
from llmkit.formats.rejects import bad_lines
from llmkit.formats.streams import STDIO, is_terminal, open_output
from llmkit.progress import SILENT, Progress
from llmkit.workflows.generate.draft import check_gain
from llmkit.workflows.generate.extent import Extent, extent_of, tool_extent
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.job import Job, open_job
from llmkit.workflows.generate.near_keys import NearKeys
from llmkit.workflows.generate.partial import Partial, check_done, open_partial, read_partial
from llmkit.workflows.generate.row import Refusal, Row
from llmkit.workflows.generate.rows import read_prompt, read_rows
from llmkit.workflows.generate.stats import GenerateStats, generate_stats
from llmkit.workflows.tool.given import given_tools

if TYPE_CHECKING:
    from llmkit.engine.engine import Engine
    from llmkit.workflows.generate.write import Writing, Written


@dataclass(frozen=True)
class GenerateReport:
    """How much was written, and what a person should know."""

    texts: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    """Of reading prompts and drawing tokens."""
    bad_lines: int
    refused_rows: int
    """Rows of a batch file whose answer is an error."""
    stats: GenerateStats
    notes: tuple[str, ...]


@dataclass(frozen=True)
class GeneratePlan:
    """What a job would do; None where only the rows of a pipe would tell, and a cache for max_tokens then."""

    model: str
    parameters: int
    dtype: str
    device: str
    kernels: str
    """What computes: native or torch."""
    processes: int
    """That have a part of the model each."""
    threads: int
    """Of each."""
    context: int
    tokenizer_sha256: str | None
    weight_bytes: int
    kv_bytes: int
    draft_bytes: int
    """Of a model that guesses at tokens, its cache included."""
    adapter_bytes: int
    """Of all adapters beside the base."""
    memory_bytes: int
    memory_available_bytes: int | None
    rows: int | None
    prompt_tokens: int | None
    """Of the longest prompt."""
    texts_at_once: int
    sampling: dict[str, Any]
    out: str | None
    notes: tuple[str, ...]
    schema: str = "llmkit.generate-plan/1"


def generate_files(
    files: GenerateFiles, config: GenerateConfig, *, progress: Progress = SILENT
) -> GenerateReport:
    """Write a text for each prompt.

    Raises:
        AlreadyDone: with files.resume, where the output is whole.
        GateFailed: config.require finds nothing in a text, or config.extract_code no code; the output is
            complete.
        StoppedResumable: by Ctrl-C or SIGTERM, and files.resume keeps what is complete.
        UsageError, ConfigError, DataError, MissingError, ResourceError: see `open_job`, `read_prompt`,
            `read_rows` and `place`.
    """
    with given_tools(files.tools) as toolbox:
        job = open_job(files, config, toolbox)
        _check_done(job)
        with open_partial(job) as partial:
            return _generate(job, partial, progress)


def _generate(job: Job, partial: Partial | None, progress: Progress) -> GenerateReport:
    files, config = job.files, job.config
    prompt, extent = _prompts(job, partial)

    # Where torch is needed, these import it, which takes a second: what is wrong has been said by now.
    from llmkit.workflows.generate.model import place, start_engine
    from llmkit.workflows.generate.prompt_cache import keeping, open_prompt_cache

    placement = place(job, extent)
    cache = open_prompt_cache(job, placement)
    keys = NearKeys()
    begin = time.perf_counter()
    engine = start_engine(job, placement)
    load_seconds = time.perf_counter() - begin
    with (
        closing(engine.lead),
        keeping(cache, engine),
        bad_lines(
            "generate",
            skip=files.skip_bad,
            rejects=files.rejects,
            force=files.force,
            inputs=files.every_input,
            out=files.out,
        ) as bad,
        _output(job, partial) as stream,
    ):
        writing = _writing(job, engine, stream, progress)
        if prompt is not None:
            writing.write([prompt], 1)
        elif files.jsonl is not None:
            rows = keys.watched(read_rows(job, files.jsonl, bad.on_bad))
            rows = rows if partial is None else partial.left(rows)
            writing.write(rows, None if extent is None else extent.rows)
    written = writing.written
    _check_written(written, config.require)
    notes = job.notes + (() if partial is None else partial.notes) + keys.notes
    notes += () if cache is None else cache.notes
    if written.cut_by_context and not job.writes_json:
        notes += (f"the text ends where the model's context of {job.model.max_position_embeddings:,} does",)
    return GenerateReport(
        texts=written.texts,
        prompt_tokens=written.prompt_tokens,
        completion_tokens=written.completion_tokens,
        seconds=written.seconds,
        bad_lines=bad.count,
        refused_rows=written.refused,
        stats=generate_stats(
            writing.meter,
            prompt_tokens=written.prompt_tokens,
            completion_tokens=written.completion_tokens,
            seconds=written.seconds,
            load_seconds=load_seconds,
        ),
        notes=notes,
    )


def _writing(job: Job, engine: "Engine", stream: BinaryIO, progress: Progress) -> "Writing":
    """What writes the job's texts, in their form; with calls where there is something to call."""
    from llmkit.workflows.generate.output import JsonOutput, Output, TextOutput
    from llmkit.workflows.generate.write import Writing

    config, files = job.config, job.files
    flush = config.unbuffered or is_terminal(files.out) or files.resume
    code = config.extract_code
    output: Output = TextOutput(
        stream, echo=config.echo, flush=flush, code=code, mark_below=config.mark_below
    )
    if job.writes_json:
        output = JsonOutput(stream, job.tokenizer, with_schema=config.as_json, flush=flush, code=code)
    if job.talk is None:
        return Writing(job, engine, output, progress)
    from llmkit.workflows.generate.tool_write import ToolWriting

    return ToolWriting(job, engine, output, progress)


def _check_written(written: "Written", require: str | None) -> None:
    """Refuse texts that are not what was asked for; the output is complete.

    Raises:
        GateFailed: they are not.
    """
    if written.unmet:
        raise GateFailed(
            f"{written.unmet} of {written.texts} texts do not match {require!r}",
            hint="another --seed, more --samples, or a prompt that asks for it",
        )
    if written.without_code:
        raise GateFailed(
            f"{written.without_code} of {written.texts} texts have no code block",
            hint="ask for one, or --prefill '```' makes the reply begin with it",
        )


def plan_generate(files: GenerateFiles, config: GenerateConfig) -> GeneratePlan:
    """What `generate_files` would do, after the same checks."""
    with given_tools(files.tools) as toolbox:
        job = open_job(files, config, toolbox)
    _check_done(job)
    partial = read_partial(job) if files.resume else None
    _, extent = _prompts(job, partial)

    from llmkit.estimate.architecture_of import architecture_of
    from llmkit.workflows.generate.device import device_memory_bytes
    from llmkit.workflows.generate.model import place
    from llmkit.workflows.generate.prompt_cache import open_prompt_cache

    placement = place(job, extent)
    open_prompt_cache(job, placement)  # one of another model is found out now
    return GeneratePlan(
        model=str(files.model),
        parameters=architecture_of(job.model).parameters,
        dtype=placement.dtype,
        device=placement.device,
        kernels=placement.kernels,
        processes=placement.processes,
        threads=placement.threads,
        context=job.model.max_position_embeddings,
        tokenizer_sha256=None if job.tokenizer is None else job.tokenizer.sha256,
        weight_bytes=placement.weight_bytes,
        kv_bytes=placement.kv_bytes,
        draft_bytes=placement.draft_bytes,
        adapter_bytes=placement.adapter_bytes,
        memory_bytes=placement.memory_bytes,
        memory_available_bytes=device_memory_bytes(placement.device),
        rows=None if extent is None else extent.rows,
        prompt_tokens=None if extent is None else extent.prompt_tokens,
        texts_at_once=placement.texts,
        sampling=asdict(job.sampling),
        out=None if files.out is None else str(files.out),
        notes=job.notes + (() if partial is None else partial.notes),
    )


def _check_done(job: Job) -> None:
    """Stop where nothing is left to do: see `check_done`."""
    path = job.files.jsonl
    if path is not None and job.files.may_be_done(job.config):
        check_done(job, lambda: read_rows(job, path, _passing(job.files)))


def _passing(files: GenerateFiles) -> OnBad | None:
    """What passes over bad lines where that is asked for: they are counted when texts are written."""
    return (lambda bad: None) if files.skip_bad or files.rejects is not None else None


@contextmanager
def _output(job: Job, partial: Partial | None) -> Iterator[BinaryIO]:
    """Where texts go; what an interrupted run leaves of it can be gone on with under --resume."""
    if partial is None:
        with open_output(job.files.out, force=job.files.force, inputs=job.files.every_input) as stream:
            yield stream
        return
    try:
        with partial.writing(job) as stream:
            yield stream
    except (KeyboardInterrupt, SystemExit):  # which SIGTERM raises
        raise StoppedResumable(
            f"stopped: what is complete is kept in {partial.path}", hint="run the same line again"
        ) from None


def _prompts(job: Job, partial: Partial | None) -> tuple[Row | None, Extent | None]:
    """The one prompt, or None where there are rows; and how much there is, where that can be known first.

    The rows of a file are all checked here, before any work; those of a pipe as they come.
    """
    path = job.files.jsonl
    if path is None:
        prompt = read_prompt(job)
        check_gain(
            job.drafts,
            job.model,
            prompt_tokens=len(prompt.request.prompt),
            max_tokens=prompt.request.sampling.max_tokens,
        )
        return prompt, tool_extent(job, extent_of(job, [prompt]))
    if path == STDIO or not path.is_file():
        return None, None
    rows: Iterable[Row | Refusal] = read_rows(job, path, _passing(job.files))
    return None, tool_extent(job, extent_of(job, rows if partial is None else partial.left(rows)))
