"""The report of `llmkit eval mc`: how many questions were answered right, and how far that may be off."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from llmkit.formats.amount_text import plural
from llmkit.probe.evaluate.choice import METRICS
from llmkit.probe.evaluate.headline import Headline
from llmkit.probe.evaluate.intervals import Interval, mean_error, wilson
from llmkit.probe.evaluate.tasks_config import ChoiceForm, McConfig
from llmkit.workflows.eval.work import Work

SCHEMA = "llmkit.eval.mc/1"


class GroupAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """The questions of one group."""

    group: str
    records: int
    acc: float
    acc_error: float
    acc_norm: float
    acc_bytes: float


class McReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Errors are lm-evaluation-harness's: the standard deviation of a sample over the root of n."""

    schema: str = SCHEMA
    model: str
    form: ChoiceForm
    shots: int
    records: int
    acc: float
    acc_error: float
    acc_norm: float
    acc_norm_error: float
    acc_bytes: float
    acc_bytes_error: float
    interval: Interval
    perplexity: float | None
    """Of the last words, as LAMBADA has it: e to the mean of -ln p, a word at a time."""
    groups: list[GroupAccuracy]
    truncated: int
    """Questions that the context had no room for: their beginning is cut off."""
    work: Work
    headline: Headline
    seconds: float
    notes: tuple[str, ...]


def mc_report(
    name: str,
    form: ChoiceForm,
    config: McConfig,
    found: Sequence[Mapping[str, Any]],
    work: Work,
    seconds: float,
    notes: tuple[str, ...],
) -> McReport:
    """The figures of some records.

    Args:
        name: of the model.
        form: of the questions.
        config: which metric the headline has, and how many examples were shown.
        found: a record for each question.
        work: what was asked.
        seconds: that it took.
        notes: what a person should know.
    """
    right = {metric: [float(one[metric]) for one in found] for metric in METRICS}
    mean = {metric: sum(values) / len(found) for metric, values in right.items()}
    error = {metric: mean_error(values) for metric, values in right.items()}
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for one in found:
        if one["group"] is not None:
            groups[one["group"]].append(one)
    low, high = wilson(round(sum(right[config.metric])), len(found))
    is_last_word = form == "lambada"
    truncated = sum(one["truncated"] for one in found)
    if truncated:
        notes += (
            f"longer than the context, their beginning cut off: {truncated:,} of "
            f"{plural(len(found), 'question')}",
        )
    return McReport(
        model=name,
        form=form,
        shots=config.shots,
        records=len(found),
        acc=mean["acc"],
        acc_error=error["acc"],
        acc_norm=mean["acc_norm"],
        acc_norm_error=error["acc_norm"],
        acc_bytes=mean["acc_bytes"],
        acc_bytes_error=error["acc_bytes"],
        interval=Interval(
            low=low, high=high, method=f"Wilson, {config.metric} of {plural(len(found), 'question')}"
        ),
        perplexity=_perplexity([one["logprobs"][0] for one in found]) if is_last_word else None,
        groups=[_group(group, ones) for group, ones in sorted(groups.items())],
        truncated=truncated,
        work=work,
        headline=Headline(
            name=config.metric, value=mean[config.metric], error=error[config.metric], better="higher"
        ),
        seconds=seconds,
        notes=notes,
    )


def _perplexity(logprobs: Sequence[float]) -> float:
    return math.exp(min(700.0, -math.fsum(logprobs) / len(logprobs)))


def _group(name: str, found: Sequence[Mapping[str, Any]]) -> GroupAccuracy:
    values = {metric: [float(one[metric]) for one in found] for metric in METRICS}
    return GroupAccuracy(
        group=name,
        records=len(found),
        acc_error=mean_error(values["acc"]),
        **{metric: sum(ones) / len(ones) for metric, ones in values.items()},
    )
