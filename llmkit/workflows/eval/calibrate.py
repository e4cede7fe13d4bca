"""llmkit eval tokens --calibrate: whether the model's confidence in labelled answers can be believed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from llmkit.errors import DataError
from llmkit.formats.digest import digest_bytes
from llmkit.formats.jsonl import Line, decode_field, encode_line
from llmkit.probe.evaluate.calibration import Calibration, calibrate
from llmkit.probe.evaluate.confidence import answer_confidence
from llmkit.probe.evaluate.config import Confidence, TokensConfig
from llmkit.probe.evaluate.headline import Headline
from llmkit.progress import SILENT, Progress
from llmkit.workflows.eval.gates import Earlier, check_alike
from llmkit.workflows.eval.scorer import Scorer
from llmkit.workflows.eval.tokens import Marking, ScoredSample, score_samples
from llmkit.workflows.eval.tokens_input import Sample, read_samples
from llmkit.workflows.eval.work import INPUTS, Work, digest_all

SCHEMA = "llmkit.eval.calibration/1"
LABELS = ("correct", "label")
WRONG = "wrong"


class CalibrationReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    schema: str = SCHEMA
    model: str
    of: Literal["answers", "tokens"]
    """What was labelled."""
    confidence: Confidence
    """Of answers; a token's is its probability."""
    records: int
    calibration: Calibration
    work: Work
    headline: Headline


def eval_calibrate(
    scorer: Scorer,
    labelled: Path,
    config: TokensConfig,
    *,
    before: Earlier | None = None,
    progress: Progress = SILENT,
) -> CalibrationReport:
    """Score labelled answers.

    Args:
        scorer: the model.
        labelled: jsonl: samples with an answer, and either `correct` (or `label`: true, false, 1, 0), or
            `wrong`: [[start, end], …], what of the answer is wrong, in characters. The second kind labels
            each token.
        config: see there.
        before: an earlier report, which must be of the same work, as far as that is known at the start.
        progress: hears of records.

    Raises:
        DataError: a record has no answer or no label, or one outside its answer, or both kinds are mixed.
        MissingError, UsageError, ConfigError: see `score_samples`.
    """
    work: Work = {"confidence": config.confidence, "bins": config.bins}
    check_alike(work, before)
    confidences: list[float] = []
    right: list[bool] = []
    kinds: set[str] = set()
    digests: list[str] = []
    samples = _labelled(labelled)
    for scored in score_samples(scorer, samples, config, Marking(), progress=progress):
        digests.append(digest_bytes(encode_line(scored.sample.record)))
        assert scored.answer is not None
        if not scored.summary.scored_tokens:
            raise DataError(f"{scored.sample.where}: nothing of the answer is scored", hint="is it empty?")
        kind, found = _judged(scored, config.confidence)
        kinds.add(kind)
        if len(kinds) > 1:
            raise DataError(
                f"{scored.sample.where}: labels of tokens and of answers in one file", hint="use one kind"
            )
        confidences += [p for p, _ in found]
        right += [one for _, one in found]
    if not digests:
        raise DataError(f"{labelled}: no records", hint='{"prompt", "completion", "correct": true}')
    result = calibrate(confidences, right, bins=config.bins, keep_accuracy=config.keep_accuracy)
    return CalibrationReport(
        model=scorer.name,
        of="tokens" if kinds == {"tokens"} else "answers",
        confidence=config.confidence,
        records=len(digests),
        calibration=result,
        work=work | {INPUTS: digest_all(digests)},
        headline=Headline(name="ece", value=result.scores.ece, error=None, better="lower"),
    )


def _labelled(path: Path) -> Iterator[Sample]:
    for sample in read_samples(None, path, chat=False):
        if sample.answer is None or sample.line is None:
            raise DataError(
                f"{sample.where}: no answer", hint='a record is {"prompt", "completion", "correct": true}'
            )
        if not {*LABELS, WRONG} & set(sample.record):
            raise DataError(
                f"{sample.where}: no label (found: {', '.join(sample.record)})",
                hint="add correct: true or false, or wrong: [[start, end], …] in characters",
            )
        yield sample


def _judged(scored: ScoredSample, kind: Confidence) -> tuple[str, list[tuple[float, bool]]]:
    """Confidences and whether each was right: of the answer, or of its tokens."""
    line, answer = scored.sample.line, scored.answer
    assert line is not None and answer is not None and scored.sample.answer is not None
    logprobs = [one["logprob"] for one in answer]
    known = [one for one in logprobs if one is not None]
    if WRONG not in line.record:
        name = next(name for name in LABELS if name in line.record)
        label = decode_field(line, name, bool | int)
        if label not in (0, 1):
            raise DataError(f"{line.where}: {name} {label} is neither right nor wrong", hint="true or false")
        return "answers", [(answer_confidence(known, kind), bool(label))]
    text = scored.sample.answer
    spans = _spans(line, text)
    places = [tuple(len(text[:edge].encode()) for edge in span) for span in spans]
    sizes = [len(bytes(one.get("bytes", b"")) or one["text"].encode()) for one in answer]
    return "tokens", [
        (answer_confidence([logprob], "mean"), not is_wrong)
        for logprob, is_wrong in zip(logprobs, _overlaps(sizes, places, len(text.encode())), strict=True)
        if logprob is not None
    ]


def _spans(line: Line, text: str) -> list[tuple[int, int]]:
    """The ranges of characters of an answer that are labelled as wrong."""
    spans: list[tuple[int, int]] = decode_field(line, WRONG, list[tuple[int, int]])
    for start, end in spans:
        if not 0 <= start < end <= len(text):
            raise DataError(
                f"{line.where}: {WRONG} [{start}, {end}] is no part of an answer of {len(text):,} characters",
                hint="[start, end] counts characters from 0, and end is the first that is right again",
            )
    return spans


def _overlaps(sizes: Sequence[int], spans: Sequence[tuple[int, ...]], total: int) -> list[bool]:
    """Whether each token touches a span; `sizes` are their bytes, end to end up to the end of the text."""
    found: list[bool] = []
    at = total - sum(sizes)  # blanks that the prompt ended with belong to the first token
    for size in sizes:
        found.append(any(start < at + size and at < end for start, end in spans))
        at += size
    return found
