"""What fine-tuning learns from: files or stdin as packed rows of examples, as pairs, or as prompts.

RUN/cache/0123456789abcdef/     packed rows of some examples and their audit; the name is a digest of the
                                files' bytes, the tokenizer with its template, and the settings
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import msgspec

from llmkit.errors import UsageError
from llmkit.formats.atomic import atomic_folder
from llmkit.formats.digest import digest_bytes
from llmkit.formats.provenance import Invocation, write_provenance
from llmkit.formats.shards import ShardFolder
from llmkit.formats.token_documents import TokenDocument
from llmkit.progress import SILENT, Progress
from llmkit.tokens.audit import Audit, AuditReport
from llmkit.tokens.boundary import Markers
from llmkit.tokens.config import PackConfig
from llmkit.tokens.supervise import Supervisor
from llmkit.tokens.supervise_config import SuperviseConfig
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.finetune.audit import RejectLog, nothing_left, read_audit, write_audit
from llmkit.workflows.finetune.samples import Sample, samples_of
from llmkit.workflows.finetune.stream import Side, Stream
from llmkit.workflows.pack.input import PackJob
from llmkit.workflows.pack.pack import PACKAGES
from llmkit.workflows.pack.shards import write_shards
from llmkit.workflows.pack.spool import SPOOL, clear_spool, spool_documents
from llmkit.workflows.pretrain.data import PretrainData, is_shard_folder, join_shards, spooled_files

AUDIT = "audit.json"


@dataclass(frozen=True)
class Examples:
    """Packed rows, and what the audit found."""

    data: PretrainData
    audit: AuditReport
    samples: list[Sample]


@contextmanager
def example_files(paths: Sequence[Path], cache: Path) -> Iterator[list[Path]]:
    """The files behind some paths; stdin is kept in a file meanwhile, so that both sides of a split can read
    it."""
    with spooled_files(paths, cache) as (files, _):
        yield files


def open_examples(
    paths: Sequence[Path],
    tokenizer: Tokenizer,
    config: SuperviseConfig,
    *,
    seq_len: int,
    side: Side = "all",
    cache: Path,
    log: RejectLog | None = None,
    shown: int = 0,
    invocation: Invocation,
    progress: Progress = SILENT,
) -> Examples:
    """Examples of single answers, each whole in one row, packed into the cache or found there.

    Args:
        paths: files, folders or stdin; from `example_files` where both sides of a split are wanted.
        tokenizer: with the template that is to be used.
        config: what becomes of long ones, and the split.
        seq_len: of the rows.
        side: which side of `config.valid_fraction`.
        cache: folder that holds packed rows.
        log: takes faulty records; one that writes them has all records gone through again.
        shown: how many samples to give.
        invocation: recorded in the rows' folder.
        progress: shows the packing.

    Raises:
        UsageError: an example may be longer than a row.
        DataError: nothing is left to learn from, or the input is malformed.
        MissingError: messages, and no chat template.
    """
    log = log or RejectLog()
    packing = PackConfig(seq_len=seq_len, boundary="none", seed=config.seed)
    limit = packing.row_length if config.max_tokens is None else config.max_tokens
    if limit > packing.row_length:
        raise UsageError(
            f"--max-tokens {limit} is more than the {packing.row_length} tokens of a row",
            hint=f"--seq-len {limit - 1}",
        )
    supervisor = Supervisor(tokenizer)

    def stream(audit: Audit, log: RejectLog) -> Stream:
        return Stream(
            supervisor=supervisor, kind="answer", config=config, limit=limit, side=side, audit=audit, log=log
        )

    with spooled_files(paths, cache) as (files, digest):
        key = {
            **{"examples": digest, "side": side, "packing": packing.key, "config": asdict(config)},
            **{
                "tokenizer": tokenizer.sha256,
                "template": tokenizer.chat_template,
                "special": tokenizer.config,
            },
        }
        if tokenizer.named_templates:  # without any, runs that began before there were some go on
            key["templates"] = tokenizer.named_templates
        target = cache / digest_bytes(msgspec.json.encode(key, order="sorted"))[:16]
        audit = Audit()
        if not is_shard_folder(target):
            progress.note(f"packing examples into {target}")
            job = PackJob(
                inputs=files,
                tokenizer=tokenizer,
                markers=Markers(),
                config=packing,
                field="text",
                workers=None,
            )
            documents = _documents(stream(audit, log), files)
            with atomic_folder(target) as folder:
                _pack(folder, job, documents, audit, invocation, progress)
        elif log.is_kept:
            for _ in stream(audit, log).examples(files):
                pass
        first = islice(stream(Audit(), RejectLog(skip_bad=True)).examples(files), shown)
        samples = [sample for one in first for sample in samples_of(tokenizer, one)]
    data = join_shards([ShardFolder.open(target)], [target], tokenizer, seq_len, {target.name: target.name})
    return Examples(data, read_audit(target / AUDIT), samples)


def _documents(stream: Stream, files: list[Path]) -> Iterator[TokenDocument]:
    for one in stream.examples(files):
        (answer,) = one.answers
        yield TokenDocument(one.id, answer.ids, answer.runs, one.line.where)


def _pack(
    folder: Path,
    job: PackJob,
    documents: Iterator[TokenDocument],
    audit: Audit,
    invocation: Invocation,
    progress: Progress,
) -> None:
    """Fill a folder with rows of examples."""
    with spool_documents(
        folder / SPOOL, job, on_bad=None, is_kept=False, progress=progress, documents=documents
    ) as (spool, _):
        report = audit.report()
        if not spool.state.tokens:
            raise nothing_left(report)
        index, _ = write_shards(folder, spool, job, progress)
    clear_spool(folder / SPOOL, folder)
    write_audit(folder / AUDIT, report)
    write_provenance(
        folder, invocation, inputs={}, tokenizer_sha256=index.tokenizer_sha256, packages=PACKAGES
    )
