"""What preference methods learn from: pairs of answers, or answers that are wanted or not, as rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llmkit.progress import SILENT, Progress
from llmkit.tokens.audit import AuditReport
from llmkit.tokens.examples import Kind
from llmkit.tokens.supervise import Supervisor
from llmkit.tokens.supervise_config import SuperviseConfig
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.pair_rows import Answer, PairRows
from llmkit.workflows.finetune.audit import RejectLog, nothing_left
from llmkit.workflows.finetune.samples import Sample, samples_of
from llmkit.workflows.finetune.stream import Side, Stream
from llmkit.workflows.pretrain.data import spooled_files


@dataclass(frozen=True)
class Pairs:
    """Pairs (or labelled answers) as rows, and what the audit found."""

    rows: PairRows
    audit: AuditReport
    samples: list[Sample]
    sha256: str
    inputs: dict[str, str] = field(default_factory=dict)


def open_pairs(
    paths: Sequence[Path],
    tokenizer: Tokenizer,
    config: SuperviseConfig,
    *,
    kind: Kind,
    max_tokens: int,
    side: Side = "all",
    cache: Path,
    log: RejectLog | None = None,
    shown: int = 0,
    progress: Progress = SILENT,
) -> Pairs:
    """Pairs of answers, or labelled ones, in memory.

    Args:
        paths, tokenizer, config: as for `open_examples`.
        kind: `pair`, or `label`: a record with `chosen` and `rejected` is one answer of each then.
        max_tokens: most of one answer with its prompt, where `config` does not say.
        side, cache, log, shown, progress: as for `open_examples`.

    Raises:
        DataError, MissingError: as `open_examples`.
    """
    stream = Stream(
        supervisor=Supervisor(tokenizer),
        kind=kind,
        config=config,
        limit=config.max_tokens or max_tokens,
        side=side,
        log=log or RejectLog(),
    )
    samples: list[Sample] = []

    def pairs(files: list[Path]) -> Iterator[tuple[Answer | None, Answer | None]]:
        for number, one in enumerate(stream.examples(files)):
            if number < shown:
                samples.extend(samples_of(tokenizer, one))
            if number % 256 == 0:
                progress.update(number, pairs=f"{number:,}")
            if len(one.answers) == 2:
                yield one.answers
            else:
                yield (one.answers[0], None) if one.example.label else (None, one.answers[0])

    with spooled_files(paths, cache) as (files, digest):
        listed = list(pairs(files))
    if not listed:
        raise nothing_left(stream.audit.report())
    rows = PairRows(listed)
    return Pairs(rows, stream.audit.report(), samples, rows.digest, {"examples": digest})
