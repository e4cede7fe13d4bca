"""llmkit eval ppl: documents through a model in windows, and what it thought of each token."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import DataError, UsageError
from llmkit.formats.amount_text import plural
from llmkit.formats.streams import input_name
from llmkit.probe.evaluate.config import Like, PplConfig
from llmkit.probe.evaluate.headline import Headline
from llmkit.probe.evaluate.intervals import Interval
from llmkit.probe.evaluate.perplexity import TextSums, perplexity
from llmkit.probe.evaluate.windows import Window, chunk_windows, sliding_windows
from llmkit.progress import SILENT, Progress
from llmkit.tokens.text_bytes import bytes_in_text
from llmkit.workflows.eval.gates import Earlier, check_alike
from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.records import another_input, check_records, inputs_told, open_records
from llmkit.workflows.eval.scorer import ModelOptions, Scorer
from llmkit.workflows.eval.work import INPUTS, TOKENS, Work, digest_all, digest_document
from llmkit.workflows.tokenize.input import is_chat, read_texts

SCHEMA = "llmkit.eval.ppl/1"
LLAMA_WINDOW = 512
MOST_WINDOW = 2048
"""Where nobody says how long: most of the gain of a long context, at a bearable price."""


class PplReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run; see `Perplexity`."""

    schema: str = SCHEMA
    model: str
    like: Like
    window: int
    stride: int
    records: int
    tokens: int
    scored_tokens: int
    bytes: int
    nll: float
    nll_error: float
    perplexity: float
    perplexity_error: float
    interval: Interval | None
    nll_cluster_error: float | None
    bits_per_byte: float | None
    bits_per_token: float
    work: Work
    headline: Headline
    seconds: float
    notes: tuple[str, ...]


def eval_ppl(
    model: ModelOptions,
    inputs: Sequence[Path],
    config: PplConfig,
    *,
    per_record: Path | None = None,
    force: bool = False,
    before: Earlier | None = None,
    progress: Progress = SILENT,
    clock: Callable[[], float] = time.perf_counter,
) -> PplReport:
    """Perplexity of a model on documents.

    Args:
        model: which.
        inputs: documents: text, jsonl, folders; `-` is stdin.
        config: see there.
        per_record: where a line for each document goes, of each chunk as llama.cpp; see `open_records`.
        force: replace it.
        before: an earlier report, which must be of the same work, as far as that is known at the start.
        progress: hears of tokens scored.
        clock: in seconds.

    Raises:
        UsageError: a window that the model has no room for, or options that do not go together.
        DataError: a malformed record, or nothing to score; or see `check_alike`.
        MissingError, ConfigError, ResourceError, StoppedResumable: see `open_scorer` and `open_records`.
    """
    check_records(per_record, force=force, inputs=[*inputs, *model.paths])
    scorer = open_scorer(model)
    window, stride = _extent(scorer, config)
    scorer.longest = window
    work: Work = {"like": config.like, "window": window, "stride": stride}
    check_alike(work, before)
    begun = clock()
    settings = (asdict(config), window, stride, scorer.fingerprint, inputs_told(inputs))
    found: list[TextSums] = []
    with open_records(model.kept(per_record), settings, force=force, inputs=inputs) as records:
        parts = _parts(scorer, inputs, config, window, stride)
        for one, is_new in _summed(scorer, parts, records.done, config, progress):
            found.append(one)
            if is_new:
                told = msgspec.to_builtins(one)
                records.write({**told, **one.figures(), "windows": told["windows"]})
        records.check_all_read(len(found))
        notes = (*scorer.notes, *records.notes)
    skipped = sum(not one.scored_tokens for one in found)
    if skipped:
        notes += (f"{plural(skipped, 'text')} of less than two tokens: nothing of them is scored",)
    figures = perplexity(found, ", ".join(map(input_name, inputs)))
    return PplReport(
        model=scorer.name,
        like=config.like,
        window=window,
        stride=stride,
        work=work | {INPUTS: digest_all(one.text_sha256 for one in found), TOKENS: figures.scored_tokens},
        headline=figures.headline(),
        seconds=clock() - begun,
        notes=notes,
        **{name: getattr(figures, name) for name in figures.__dataclass_fields__},
    )


@dataclass(frozen=True)
class _Part:
    """What becomes one record: a document, or a chunk of one."""

    sums: TextSums
    ids: Sequence[int]
    sizes: Sequence[int]
    """Of each token the bytes of the text behind it."""
    windows: Sequence[Window]
    first_id: int | None = None
    """In place of the first token of each window."""


def _extent(scorer: Scorer, config: PplConfig) -> tuple[int, int]:
    """Window and stride in tokens."""
    is_llama = config.like == "llama.cpp"
    window = config.window
    if window is None:
        window = min(scorer.context, LLAMA_WINDOW if is_llama else MOST_WINDOW)
    if window > scorer.context:
        raise UsageError(
            f"--window {window:,}: the model has a context of {scorer.context:,}",
            hint=f"--window {scorer.context}, or --rope-scaling to stretch it",
        )
    if is_llama and config.stride is not None:
        raise UsageError("--stride: llama.cpp's chunks stand side by side", hint="leave out --stride")
    stride = config.stride
    if stride is None:
        stride = max(1, window if is_llama else window // 2)
    if is_llama:  # refuse what makes no sense now
        chunk_windows(2 * window, window=window)
    else:
        list(sliding_windows(2, window=window, stride=stride))
    return window, stride


def _parts(
    scorer: Scorer, inputs: Sequence[Path], config: PplConfig, window: int, stride: int
) -> Iterator[_Part]:
    documents = read_texts(inputs, scorer.tokenizer, field=config.field, generation_prompt=False, on_bad=None)
    for index, document in enumerate(documents):
        rendered = is_chat(document, config.field)
        encode = scorer.encoder.encode_rendered if rendered else scorer.encoder.encode
        ids, digest = encode(document.text), digest_document(document, config.field)
        sizes = bytes_in_text(scorer.tokenizer, document.text, ids, rendered=rendered)
        if config.like == "transformers":
            sums = TextSums(index=index, id=document.id, tokens=len(ids), text_sha256=digest)
            yield _Part(sums, ids, sizes, list(sliding_windows(len(ids), window=window, stride=stride)))
            continue
        if index:
            raise DataError(
                f"{document.where}: a second text, and llama-perplexity reads one",
                hint="cat them together, or leave out --like llama.cpp",
            )
        bos = scorer.tokenizer.bos_id if scorer.adds_bos else None
        for number, chunk in enumerate(chunk_windows(len(ids), window=window, name=document.where)):
            name = f"{document.id}#{number}"
            sums = TextSums(index=number, id=name, tokens=window, text_sha256=digest)
            yield _Part(sums, ids, sizes, [chunk], bos)


def _summed(
    scorer: Scorer,
    parts: Iterator[_Part],
    done: Mapping[int, dict[str, Any]],
    config: PplConfig,
    progress: Progress,
) -> Iterator[tuple[TextSums, bool]]:
    """Each part in order, with its sums, and whether they are new."""
    most = config.max_tokens
    asked: deque[tuple[_Part, Window | None]] = deque()
    planned = 0

    def texts() -> Iterator[tuple[list[int], int]]:
        nonlocal planned
        for part in parts:
            if most is not None and planned >= most:
                return
            windows = part.windows if part.sums.index not in done else ()
            planned += sum(window.scored for window in part.windows)
            for window in windows:
                asked.append((part, window))
                yield window.ids(part.ids, part.first_id), window.first - window.begin
            asked.append((part, None))  # its end
            yield [], 1

    heard = 0
    for scored in scorer.score(texts()):
        part, window = asked.popleft()
        if window is not None:
            part.sums.add(scored, part.sizes[window.first : window.end])
            heard += len(scored)
            progress.update(heard)
            continue
        earlier = done.get(part.sums.index)
        if earlier is None:
            yield part.sums, True
        elif earlier["id"] != part.sums.id or earlier["tokens"] != part.sums.tokens:
            raise DataError(
                f"record {part.sums.index} is {part.sums.id!r}, and was {earlier['id']!r} in an earlier run",
                hint="give it the inputs that it began with, or remove the .partial file",
            )
        elif earlier["text_sha256"] != part.sums.text_sha256:
            raise another_input(f"the text of record {part.sums.index} ({part.sums.id!r})")
        else:
            yield msgspec.convert(earlier, TextSums), False
