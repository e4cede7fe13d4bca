"""llmkit generate: open and check everything, then write a text for each prompt."""

from dataclasses import asdict, dataclass
from typing import Any

from llmkit.engine.config import GenerateConfig
from llmkit.errors import GateFailed
from llmkit.formats.rejects import bad_lines
from llmkit.formats.streams import STDIO, is_terminal, open_output
from llmkit.progress import SILENT, Progress
from llmkit.workflows.generate_job import GenerateFiles, Job, open_job
from llmkit.workflows.generate_rows import Extent, Row, extent_of, read_prompt, read_rows


@dataclass(frozen=True)
class GenerateReport:
    """How much was written, and what a person should know."""

    texts: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    """Of reading prompts and drawing tokens."""
    bad_lines: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class GeneratePlan:
    """What a job would do; None where only the rows of a pipe would tell, and a cache for max_tokens then."""

    model: str
    parameters: int
    dtype: str
    device: str
    threads: int
    context: int
    tokenizer_sha256: str | None
    weight_bytes: int
    kv_bytes: int
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
        GateFailed: config.require finds nothing in a text; the output is complete.
        UsageError, ConfigError, DataError, MissingError, ResourceError: see `open_job`, `read_prompt`,
            `read_rows` and `place`.
    """
    job = open_job(files, config)
    prompt, extent = _prompts(job)

    # These import torch, which takes a second: what is wrong with a request has been said by now.
    from llmkit.workflows.generate_model import place, start_engine
    from llmkit.workflows.generate_output import JsonOutput, Output, TextOutput
    from llmkit.workflows.generate_write import Writing

    engine = start_engine(job, place(job, extent))
    flush = config.unbuffered or is_terminal(files.out)
    with (
        bad_lines(
            "generate",
            skip=files.skip_bad,
            rejects=files.rejects,
            force=files.force,
            inputs=files.inputs,
            out=files.out,
        ) as bad,
        open_output(files.out, force=files.force, inputs=files.inputs) as stream,
    ):
        output: Output = TextOutput(stream, echo=config.echo, flush=flush)
        if job.writes_json:
            output = JsonOutput(stream, job.tokenizer, with_schema=config.as_json, flush=flush)
        writing = Writing(job, engine, output, progress)
        if prompt is not None:
            writing.write([prompt], 1)
        elif files.jsonl is not None:
            writing.write(read_rows(job, files.jsonl, bad.on_bad), None if extent is None else extent.rows)
    written = writing.written
    if written.unmet:
        raise GateFailed(
            f"{written.unmet} of {written.texts} texts do not match {config.require!r}",
            hint="another --seed, more --samples, or a prompt that asks for it",
        )
    notes = job.notes
    if written.cut_by_context and not job.writes_json:
        notes += (f"the text ends where the model's context of {job.model.max_position_embeddings:,} does",)
    return GenerateReport(
        texts=written.texts,
        prompt_tokens=written.prompt_tokens,
        completion_tokens=written.completion_tokens,
        seconds=written.seconds,
        bad_lines=bad.count,
        notes=notes,
    )


def plan_generate(files: GenerateFiles, config: GenerateConfig) -> GeneratePlan:
    """What `generate_files` would do, after the same checks."""
    job = open_job(files, config)
    _, extent = _prompts(job)

    from llmkit.estimate.architecture_of import architecture_of
    from llmkit.train.hardware import available_memory_bytes
    from llmkit.workflows.generate_model import place

    placement = place(job, extent)
    return GeneratePlan(
        model=str(files.model),
        parameters=architecture_of(job.model).parameters,
        dtype=str(placement.dtype).removeprefix("torch."),
        device=str(placement.device),
        threads=placement.threads,
        context=job.model.max_position_embeddings,
        tokenizer_sha256=None if job.tokenizer is None else job.tokenizer.sha256,
        weight_bytes=placement.weight_bytes,
        kv_bytes=placement.kv_bytes,
        memory_bytes=placement.memory_bytes,
        memory_available_bytes=available_memory_bytes(placement.device),
        rows=None if extent is None else extent.rows,
        prompt_tokens=None if extent is None else extent.prompt_tokens,
        texts_at_once=placement.texts,
        sampling=asdict(job.sampling),
        out=None if files.out is None else str(files.out),
        notes=job.notes,
    )


def _prompts(job: Job) -> tuple[Row | None, Extent | None]:
    """The one prompt, or None where there are rows; and how much there is, where that can be known first.

    The rows of a file are all checked here, before any work; those of a pipe as they come.
    """
    path = job.files.jsonl
    if path is None:
        prompt = read_prompt(job)
        return prompt, extent_of(job, [prompt])
    if path == STDIO or not path.is_file():
        return None, None
    skip = job.files.skip_bad or job.files.rejects is not None
    return None, extent_of(job, read_rows(job, path, (lambda bad: None) if skip else None))
