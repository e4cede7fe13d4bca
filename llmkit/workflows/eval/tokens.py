"""llmkit eval tokens: what a model thinks of every token of a text, and where it was not sure."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Drawn, Request
from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.jsonl import MALFORMED, Record, decode_field, raw
from llmkit.probe.evaluate.calibration import Calibration
from llmkit.probe.evaluate.confidence import Span, answer_confidence, unsure_spans
from llmkit.probe.evaluate.config import TokensConfig
from llmkit.probe.evaluate.grounding import Grounding, grounding
from llmkit.progress import SILENT, Progress
from llmkit.workflows.eval.scorer import Scorer
from llmkit.workflows.eval.tokens_input import Encoded, Sample, encode_sample
from llmkit.workflows.token_scores import token_record

SCHEMA = "llmkit.eval.tokens/1"
UNCALIBRATED = 0.1


@dataclass(frozen=True)
class Marking:
    """Below what confidence tokens are marked."""

    threshold: float = UNCALIBRATED
    temperature: float = 1.0
    calibrated: bool = False


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Of the answer, or of the text where there is none."""

    tokens: int
    scored_tokens: int
    logprob: float
    """Sum of the scored tokens', natural."""
    perplexity: float | None
    confidence: float | None


@dataclass(frozen=True)
class ScoredSample:
    """A sample with its scores."""

    sample: Sample
    prompt: list[dict[str, Any]]
    """Tokens of the prompt, or of the text; see `token_record`."""
    answer: list[dict[str, Any]] | None
    """Of the answer, or of what was written; None without one."""
    completion: str | None
    """What was written; None where nothing was."""
    summary: Summary
    spans: list[Span]
    """In the answer, or in the text where there is none."""
    grounding: Grounding | None

    def record(self) -> Record:
        """The sample's own fields, and over them the results."""
        results: dict[str, Any] = {"prompt_logprobs": self.prompt}
        if self.answer is not None:
            results["logprobs"] = self.answer
        if self.completion is not None:
            results["completion"] = self.completion
        results |= {"summary": self.summary, "spans": self.spans}
        if self.grounding is not None:
            results["grounding"] = self.grounding
        return self.sample.record | {key: raw(value) for key, value in results.items()}


def read_marking(path: Path | None, threshold: float | None) -> Marking:
    """The threshold of a calibration, or one that was given.

    Raises:
        MissingError: no such file.
        DataError: it is no calibration, or has no threshold.
        UsageError: a threshold that is no confidence.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise UsageError(
            f"--threshold {threshold:g}: a confidence is above 0, up to 1", hint="--threshold 0.1"
        )
    if path is None:
        return Marking(UNCALIBRATED if threshold is None else threshold)
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Calibrated).calibration
    except FileNotFoundError:
        raise MissingError(
            f"{path}: no such file", hint="llmkit eval tokens … --calibrate FILE --json"
        ) from None
    except MALFORMED as error:
        raise DataError(
            f"{path}: not a calibration ({error})", hint="--calibrate FILE --json writes one"
        ) from None
    if threshold is None and found.threshold is None:
        raise DataError(
            f"{path}: no threshold keeps {found.keep_accuracy:.0%} right", hint="give one with --threshold"
        )
    return Marking(found.threshold if threshold is None else threshold, found.temperature, calibrated=True)  # type: ignore[arg-type]


class _Calibrated(msgspec.Struct, frozen=True):
    calibration: Calibration


def score_samples(
    scorer: Scorer,
    samples: Iterable[Sample],
    config: TokensConfig,
    marking: Marking,
    *,
    progress: Progress = SILENT,
) -> Iterator[ScoredSample]:
    """Each sample with its scores, in order.

    Raises:
        UsageError: there is an answer, and more is to be written; or see `Request.check`.
        DataError: see `encode_sample`; a record is nothing that the model can take.
    """
    asked: deque[tuple[Sample, Encoded, bool]] = deque()

    def requests() -> Iterator[Request]:
        for sample in samples:
            passage = _passage(sample, config)
            if config.generate and (sample.answer is not None or passage is not None):
                raise UsageError(
                    f"{sample.where or 'the text'}: --generate goes on from a text without answer or passage",
                    hint="leave out --generate",
                )
            encoded = encode_sample(sample, scorer, passage)
            asked.append((sample, encoded, False))
            yield _request(scorer, sample, encoded.ids, config)
            if passage is not None:
                asked.append((sample, encoded, True))
                yield _request(scorer, sample, encoded.with_passage, config)

    without: list[Drawn] = []
    for done, drawn in enumerate(scorer.run(requests()), 1):
        sample, encoded, has_passage = asked.popleft()
        if encoded.with_passage and not has_passage:
            without = drawn
            continue
        yield _scored(scorer, sample, encoded, without if has_passage else drawn, drawn, config, marking)
        progress.update(done)


def _request(scorer: Scorer, sample: Sample, ids: Sequence[int], config: TokensConfig) -> Request:
    """What is asked of the engine; a record that the model cannot take is named."""
    sampling = SamplingConfig(logprobs=config.top, max_tokens=max(1, config.generate), temperature=0.0)
    request = scorer.request(ids, sampling)
    request = replace(request, scores_prompt="too" if config.generate else "only")
    if sample.line is not None and (config.generate or len(ids) > 1):  # less is not asked: nothing is scored
        try:
            request.check(scorer.job.model)
        except (UsageError, DataError) as error:
            raise DataError(f"{sample.where}: {error.problem}", hint=error.hint) from None
    return request


def _passage(sample: Sample, config: TokensConfig) -> str | None:
    """The passage of a record, or that of all."""
    if sample.line is not None and "context" in sample.record:
        return str(decode_field(sample.line, "context", str))
    return config.context


def _scored(
    scorer: Scorer,
    sample: Sample,
    encoded: Encoded,
    drawn: Sequence[Drawn],
    with_passage: Sequence[Drawn],
    config: TokensConfig,
    marking: Marking,
) -> ScoredSample:
    tokenizer = scorer.tokenizer
    count = len(encoded.ids)
    told = [token_record(one, tokenizer) for one in drawn]
    tokens = [token_record(Drawn(one), tokenizer) for one in encoded.ids[: count - _given(drawn)]] + told
    split = count if config.generate else encoded.start
    has_answer = bool(config.generate) or sample.answer is not None
    prompt, answer = (tokens[:split], tokens[split:]) if has_answer else (tokens, None)
    looked = tokens[encoded.start :] if answer is None else answer
    gained = None
    if encoded.with_passage:
        gained = _grounded(looked, with_passage)
    logprobs = [one["logprob"] for one in looked if one["logprob"] is not None]
    total = math.fsum(logprobs)
    summary = Summary(
        tokens=len(looked),
        scored_tokens=len(logprobs),
        logprob=total,
        perplexity=math.exp(-total / len(logprobs)) if logprobs else None,
        confidence=answer_confidence(logprobs, config.confidence) if logprobs else None,
    )
    viewed = prompt if answer is None else answer
    spans = unsure_spans(
        [one["logprob"] for one in viewed],
        [one["text"] for one in viewed],
        marking.threshold,
        marking.temperature,
    )
    completion = None
    if config.generate:
        ends = {one.id for one in drawn if one.finish == "stop"}
        content = b"".join(tokenizer.token_bytes(one["id"]) for one in looked if one["id"] not in ends)
        completion = content.decode(errors="replace")
    return ScoredSample(sample, prompt, answer, completion, summary, spans, gained)


def _given(drawn: Sequence[Drawn]) -> int:
    return sum(one.given for one in drawn)


def _grounded(answer: Sequence[dict[str, Any]], with_passage: Sequence[Drawn]) -> Grounding:
    """What a passage did for an answer; each token is told its own gain."""
    behind = with_passage[len(with_passage) - len(answer) :]
    after = [None if one.score is None else one.score.logprob for one in behind]
    before = [one["logprob"] for one in answer]
    for token, y in zip(answer, after, strict=True):
        x = token["logprob"]
        token["gain_bits"] = None if x is None or y is None else (y - x) / math.log(2)
    return grounding(before, after)


def tokens_report(scorer: Scorer, scored: Sequence[ScoredSample], marking: Marking) -> Mapping[str, Any]:
    """All samples as one object."""
    total = sum(one.summary.scored_tokens for one in scored)
    nll = -math.fsum(one.summary.logprob for one in scored)
    gains = [one.grounding for one in scored if one.grounding is not None]
    return {
        "schema": SCHEMA,
        "model": scorer.name,
        "threshold": marking.threshold,
        "temperature": marking.temperature,
        "calibrated": marking.calibrated,
        "scored_tokens": total,
        "nll_per_token": nll / total if total else None,
        "perplexity": math.exp(nll / total) if total else None,
        "gain_bits_per_token": (
            math.fsum(one.gain_bits for one in gains) / sum(one.tokens for one in gains) if gains else None
        ),
        "records": [one.record() for one in scored],
    }
