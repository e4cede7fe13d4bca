"""llmkit eval kl: a model and another in lock-step over a text, and how far apart they are."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from llmkit.errors import DataError, UsageError
from llmkit.formats.digest import digest_bytes
from llmkit.formats.streams import input_name
from llmkit.model.fingerprint import model_fingerprint
from llmkit.model.source import model_files
from llmkit.probe.evaluate.config import KlConfig
from llmkit.probe.evaluate.headline import Headline
from llmkit.progress import SILENT, Progress
from llmkit.workflows.eval.gates import Earlier, check_alike
from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.plan import PlanningScorer
from llmkit.workflows.eval.records import check_records, inputs_told, open_records
from llmkit.workflows.eval.scorer import ModelOptions, Scorer
from llmkit.workflows.eval.work import INPUTS, REFERENCE, Work, digest_all, digest_document
from llmkit.workflows.tokenize.input import is_chat, read_texts

if TYPE_CHECKING:
    from torch import Tensor

    from llmkit.quant.divergence import Divergence

SCHEMA = "llmkit.eval.kl/1"
WINDOW = 512
COLUMNS = ("kld", "nll_base", "nll", "delta_p", "same_top")
"""Of a position, in the order of `Divergence.table`."""


class KlReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    schema: str = SCHEMA
    model: str
    reference: str
    window: int
    chunks: int
    quality: Any
    """A `QualityReport`: llama.cpp's figures."""
    size_bytes: int
    """Of the model's config and weights, as they are on disk."""
    kl: float
    """Of `quality`, the figures that models are compared by, where jq finds them."""
    top1_agree: float
    ppl: float
    bpb: float
    """Bits per byte: bits per token of what is scored, by the tokens that a byte of the whole text has."""
    work: Work
    headline: Headline
    seconds: float
    notes: tuple[str, ...]


def eval_kl(
    model: ModelOptions,
    reference: Path,
    inputs: Sequence[Path],
    config: KlConfig,
    *,
    per_record: Path | None = None,
    force: bool = False,
    before: Earlier | None = None,
    progress: Progress = SILENT,
    clock: Callable[[], float] = time.perf_counter,
) -> KlReport:
    """How far a model is from a reference, over the chunks of some documents end to end.

    Args:
        model: which, and how it runs.
        reference: the other: model folder or GGUF file; it runs as it is stored.
        inputs: documents; `-` is stdin.
        config: see there.
        per_record: where a line for each chunk goes, with the figures of its positions.
        force: replace it.
        before: an earlier report, which must be of the same work, as far as that is known at the start.
        progress: hears of chunks.
        clock: in seconds.

    Raises:
        UsageError: a window beyond a context.
        DataError: the two have other tokens, the text is too short, or a logit is not finite; or see
            `check_alike`.
        MissingError, ConfigError, ResourceError, StoppedResumable: see `open_scorer` and `open_records`.
    """
    check_records(per_record, force=force, inputs=[*inputs, reference, *model.paths])
    scorer, base = open_scorer(model), open_scorer(_as_stored(reference, beside=model))
    window = _window(scorer, base, config)
    scorer.longest = base.longest = window
    work: Work = {
        "window": window,
        "whole": config.whole,
        REFERENCE: model_fingerprint(reference, base.job.model),
    }
    check_alike(work, before)

    from llmkit.quant.divergence import Divergence

    begun = clock()
    settings = (asdict(config), window, scorer.fingerprint, base.fingerprint, inputs_told(inputs))
    total, count, read = Divergence(), 0, _Read()
    with open_records(model.kept(per_record), settings, force=force, inputs=inputs) as records:
        if isinstance(scorer, PlanningScorer):
            raise scorer.planned(map(len, _chunks(scorer, base, inputs, config, window, read)), beside=base)
        for index, ids in enumerate(_chunks(scorer, base, inputs, config, window, read)):
            digest = digest_bytes(scorer.tokenizer.decode(ids).encode())
            if index in records.done:
                earlier = records.earlier(index, digest, f"chunk {index}", key="text_sha256")
                total.add_table(_table_of(earlier))
            else:
                found = _compared(scorer, base, ids, whole=config.whole)
                total.add_table(found.table())
                records.write(_record(index, digest, found))
            count = index + 1
            progress.update(count, config.max_chunks)
        records.check_all_read(count)
        notes = (*scorer.notes, *base.notes, *records.notes)
    quality = total.report()
    return KlReport(
        model=scorer.name,
        reference=base.name,
        window=window,
        chunks=count,
        quality=quality,
        size_bytes=sum(file.stat().st_size for file in model_files(model.model)),
        kl=quality.kld,
        top1_agree=quality.same_top,
        ppl=quality.perplexity,
        bpb=quality.bits_per_token * read.tokens / read.bytes,
        work=work | {"chunks": count, INPUTS: digest_all(read.digests)},
        headline=Headline(name="kl_divergence", value=quality.kld, error=quality.kld_error, better="lower"),
        seconds=clock() - begun,
        notes=notes,
    )


def _as_stored(reference: Path, *, beside: ModelOptions) -> ModelOptions:
    """The reference where the model is, and changed by none of its options."""
    return ModelOptions(
        model=reference,
        device=beside.device,
        threads=beside.threads,
        tokenizer=beside.tokenizer,
        plans=beside.plans,
    )


def _window(scorer: Scorer, base: Scorer, config: KlConfig) -> int:
    """Tokens of a chunk, of two models that can be compared."""
    ours, theirs = scorer.job.model.vocab_size, base.job.model.vocab_size
    if ours != theirs:
        raise DataError(
            f"{scorer.name} scores {ours:,} tokens, {base.name} {theirs:,}",
            hint="compare models of one vocabulary",
        )
    context = min(scorer.context, base.context)
    window = min(WINDOW, context) if config.window is None else config.window
    if window > context:
        raise UsageError(
            f"--window {window:,}: the shorter context is {context:,}", hint=f"--window {context}"
        )
    if window < 4:
        raise UsageError(f"--window {window}: chunks with next to nothing in them", hint="--window 512")
    return window


@dataclass
class _Read:
    """Of the documents that chunks came from."""

    tokens: int = 0
    bytes: int = 0
    digests: list[str] = field(default_factory=list)


def _chunks(
    scorer: Scorer, base: Scorer, inputs: Sequence[Path], config: KlConfig, window: int, read: _Read
) -> Iterator[list[int]]:
    """Chunks of documents end to end; what is left at the end is left out, unless it is all there is."""
    held: list[int] = []
    count = 0
    first_id = scorer.tokenizer.bos_id if scorer.adds_bos else None
    texts = read_texts(inputs, scorer.tokenizer, field=config.field, generation_prompt=False, on_bad=None)
    for document in texts:
        rendered = is_chat(document, config.field)
        ids, others = (
            (one.encoder.encode_rendered if rendered else one.encoder.encode)(document.text)
            for one in (scorer, base)
        )
        if ids != others:
            raise DataError(
                f"{document.where}: {scorer.name} and {base.name} cut it into other tokens",
                hint="compare models of one tokenizer: llmkit diff MODEL OTHER --only tokenizer",
            )
        held += ids
        read.digests.append(digest_document(document, config.field))
        read.tokens, read.bytes = read.tokens + len(ids), read.bytes + len(document.text.encode())
        while len(held) >= window:
            if config.max_chunks is not None and count >= config.max_chunks:
                return
            chunk, held = held[:window], held[window:]
            yield chunk if first_id is None else [first_id, *chunk[1:]]
            count += 1
    if not count:
        if len(held) < 4:
            where = ", ".join(map(input_name, inputs))
            raise DataError(f"{where}: less than four tokens (found {len(held)})", hint="give it more text")
        yield held


def _compared(scorer: Scorer, base: Scorer, ids: list[int], *, whole: bool) -> "Divergence":
    """The scored positions of a chunk, whose logits are held a few rows at a time."""
    import torch

    from llmkit.quant.divergence import Divergence, scored_positions

    scored = scored_positions(len(ids), whole=whole)
    following = torch.tensor(ids[1:])
    found = Divergence()
    at = 0
    for ours, theirs in _in_step(scorer.logits(ids), base.logits(ids)):
        skip = max(0, scored.start - at)
        if skip < len(ours):
            found.add(theirs[skip:], ours[skip:], following[at + skip : at + len(ours)])
        at += len(ours)
    return found


def _in_step(ours: "Iterator[Tensor]", theirs: "Iterator[Tensor]") -> "Iterator[tuple[Tensor, Tensor]]":
    """Pieces of two streams of as many rows, cut to one length."""
    left: Tensor | None = None
    for piece in ours:
        while len(piece):
            if left is None or not len(left):
                left = next(theirs)
            count = min(len(piece), len(left))
            yield piece[:count], left[:count]
            piece, left = piece[count:], left[count:]


def _record(index: int, text_sha256: str, found: "Divergence") -> dict[str, Any]:
    table = found.table()
    means = dict(zip(COLUMNS, table.mean(dim=1).tolist(), strict=True))
    positions = dict(zip(COLUMNS, table.tolist(), strict=True))
    named = {"index": index, "id": f"chunk {index}", "text_sha256": text_sha256}
    return {**named, **means, "positions": positions}


def _table_of(record: dict[str, Any]) -> "Tensor":
    import torch

    return torch.tensor([record["positions"][name] for name in COLUMNS], dtype=torch.float64)
