"""llmkit tokenize: open the inputs, send each document through one mode, write what comes out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmkit.errors import GateFailed, UsageError
from llmkit.formats.documents import Document, list_files
from llmkit.formats.jsonl import OnBad
from llmkit.formats.rejects import bad_lines, check_rejects
from llmkit.formats.streams import check_output, input_bytes, input_name, is_terminal, open_output
from llmkit.progress import SILENT, Progress
from llmkit.tokens.config import TokenizeConfig
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.tokenize.compare import names_of, write_comparison
from llmkit.workflows.tokenize.count import write_counts
from llmkit.workflows.tokenize.decode import decode_lines
from llmkit.workflows.tokenize.input import literal, read_file_list, read_texts
from llmkit.workflows.tokenize.run import Run
from llmkit.workflows.tokenize.text import write_check, write_chunks, write_truncated
from llmkit.workflows.tokenize.tokens import (
    write_ids,
    write_offsets,
    write_pieces,
    write_raw,
    write_token_documents,
)
from llmkit.workflows.tokenize.view import write_view

WRITERS: dict[str, Callable[[Run], None]] = {
    "ids": write_ids,
    "pieces": write_pieces,
    "offsets": write_offsets,
    "view": write_view,
    "raw": write_raw,
    "jsonl": write_token_documents,
    "truncate": write_truncated,
    "chunk": write_chunks,
    "check": write_check,
}
NAMES_SHOWN = 20


@dataclass(frozen=True)
class TokenizeSources:
    """What to read and where to write."""

    tokenizer: Path
    inputs: Sequence[Path] = ()
    files_from: Path | None = None
    files0_from: Path | None = None
    text: str | None = None
    compare: Sequence[Path] = ()
    raw_input: bool = False
    """Whether --decode reads a raw stream."""
    out: Path | None = None
    force: bool = False
    skip_bad: bool = False
    rejects: Path | None = None


@dataclass(frozen=True)
class TokenizeReport:
    """How much went through."""

    documents: int
    tokens: int
    bytes: int
    bad_lines: int
    schema: str = "llmkit.tokenize/1"


@dataclass(frozen=True)
class TokenizePlan:
    """What a run would do; `input_bytes` is None when stdin is among the inputs."""

    mode: str
    tokenizer: str
    tokenizer_sha256: str
    inputs: list[str]
    input_bytes: int | None
    out: str | None
    schema: str = "llmkit.tokenize-plan/1"


def tokenize_files(
    sources: TokenizeSources, config: TokenizeConfig, *, color: bool = False, progress: Progress = SILENT
) -> TokenizeReport:
    """Run one mode over all inputs.

    Raises:
        GateFailed: a document is over --max, or --check found a difference; the output is complete.
        UsageError, DataError, MissingError: see the readers, `load_tokenizer` and `open_output`.
    """
    inputs = resolve_inputs(sources)
    if len(config.prices) > 1 and len(config.prices) != 1 + len(sources.compare):
        raise UsageError(
            f"{len(config.prices)} prices for {1 + len(sources.compare)} tokenizers",
            hint="one --price for all, or one each: first that of -t, then those of --compare in order",
        )
    tokenizer = load_tokenizer(sources.tokenizer)
    read = [*inputs, sources.tokenizer, *sources.compare]
    with (
        bad_lines(
            "tokenize",
            skip=sources.skip_bad,
            rejects=sources.rejects,
            force=sources.force,
            inputs=read,
            out=sources.out,
        ) as bad,
        open_output(sources.out, force=sources.force, inputs=read) as stream,
    ):
        run = Run(
            tokenizer=tokenizer,
            config=config,
            documents=_documents(sources, inputs, tokenizer, config, bad.on_bad),
            stream=stream,
            flush=config.unbuffered or is_terminal(sources.out),
            color=color,
            progress=progress,
        )
        if config.mode == "decode":
            decode_lines(run, inputs, raw_input=sources.raw_input, on_bad=bad.on_bad)
        elif config.mode == "count":
            write_counts(run, [input_name(path) for path in inputs])
        elif config.mode == "compare":
            first, *names = names_of([sources.tokenizer, *sources.compare])
            others = [load_tokenizer(path) for path in sources.compare]
            write_comparison(run, list(zip(names, others, strict=True)), first)
        else:
            WRITERS[config.mode](run)
    report = TokenizeReport(run.totals.documents, run.totals.tokens, run.totals.bytes, bad.count)
    _check_gate(config, report, run.failures)
    return report


def plan_tokenize(sources: TokenizeSources, config: TokenizeConfig) -> TokenizePlan:
    """What `tokenize_files` would read and write, after the same checks.

    Raises:
        UsageError, DataError, MissingError: as `tokenize_files`; no document is read.
    """
    inputs = resolve_inputs(sources)
    tokenizer = load_tokenizer(sources.tokenizer)
    read = [*inputs, sources.tokenizer, *sources.compare]
    check_rejects(sources.rejects, force=sources.force, inputs=read, out=sources.out)
    check_output(sources.out, force=sources.force, inputs=read)
    return TokenizePlan(
        mode=config.mode,
        tokenizer=str(sources.tokenizer),
        tokenizer_sha256=tokenizer.sha256,
        inputs=[str(path) for path in inputs],
        input_bytes=input_bytes(inputs),
        out=None if sources.out is None else str(sources.out),
    )


def resolve_inputs(sources: TokenizeSources) -> list[Path]:
    """Every input file: those named, and those in the lists; folders become their files.

    Raises:
        MissingError: one of them is not there.
    """
    paths = list(sources.inputs)
    if sources.files_from is not None:
        paths += read_file_list(sources.files_from, b"\n")
    if sources.files0_from is not None:
        paths += read_file_list(sources.files0_from, b"\0")
    return list_files(paths)


def _documents(
    sources: TokenizeSources,
    inputs: list[Path],
    tokenizer: Tokenizer,
    config: TokenizeConfig,
    on_bad: OnBad | None,
) -> Iterator[Document]:
    if sources.text is not None:
        return literal(sources.text)
    return read_texts(
        inputs,
        tokenizer,
        field=config.field,
        generation_prompt=config.generation_prompt,
        on_bad=on_bad,
    )


def _check_gate(config: TokenizeConfig, report: TokenizeReport, failures: list[str]) -> None:
    if not failures:
        return
    names = ", ".join(failures[:NAMES_SHOWN])
    if len(failures) > NAMES_SHOWN:
        names += f" and {len(failures) - NAMES_SHOWN} more"
    share = f"{len(failures):,} of {report.documents:,} documents"
    if config.mode == "check":
        raise GateFailed(
            f"{share} are not what decoding gives back: {names}",
            hint="this tokenizer normalises text; a byte-level one keeps every byte",
        )
    raise GateFailed(
        f"{share} are over {config.max_tokens:,} tokens: {names}",
        hint=f"llmkit tokenize --truncate {config.max_tokens} shortens them",
    )
