"""What a rule of `clean` is, and what running a chain of them over a document gives.

A rule looks at a document's features and finds: a verdict that drops it, an edited text, or neither. Its
checks are the numbers it looks at, each with the bounds it must keep: `gopher-quality.words` is the check
`words` of the rule `gopher-quality`. Names are stable: they are the keys of reports, tags and rejects.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Protocol

import msgspec

from llmkit.text.features import Features


class Verdict(msgspec.Struct, frozen=True):
    """Why a document is dropped: the check that failed, the value found, and the bound that it broke."""

    rule: str
    value: float | str | None = None
    threshold: float | str | None = None


class Check(msgspec.Struct, frozen=True):
    """A number that a rule looks at: its name, what it counts, and the bounds that keep a document."""

    name: str
    meaning: str
    low: float | None = None
    high: float | None = None

    def broken_by(self, value: float) -> float | None:
        """The bound that `value` breaks; None where it keeps both."""
        if self.low is not None and value < self.low:
            return self.low
        if self.high is not None and value > self.high:
            return self.high
        return None


@dataclass
class Finding:
    """What one rule found. `text` is None where the rule left the text as it was; without edits it differs in
    white space only."""

    verdict: Verdict | None = None
    text: str | None = None
    edits: dict[str, int] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a chain of rules made of a document.

    text: as the rules left it; a rule that drops the document leaves it untouched.
    edits: lines or marks taken out, by the name of the check that took them.
    verdict: of the first rule that drops the document; None keeps it.
    scores: the value of every check by name where every score was asked for, else of those looked at.
    """

    text: str
    edits: dict[str, int]
    verdict: Verdict | None
    scores: dict[str, float]


class Rule(Protocol):
    """A rule with its thresholds: a frozen value, equal to another one when it decides the same."""

    kind: ClassVar[str]

    @property
    def checks(self) -> tuple[Check, ...]:
        """Every number it looks at, in the order in which it decides."""
        ...

    def judge(self, document: Features, *, every_score: bool) -> Finding:
        """Look at a document; with `every_score` go on after a failed check and measure the rest too."""
        ...


@dataclass(frozen=True)
class Measurement:
    """A check and how its value is found.

    exact: the value. passes: a cheap proof that the value keeps the bounds; False proves nothing.
    """

    check: Check
    exact: Callable[[Features], float]
    passes: Callable[[Features], bool] | None = None


@dataclass(frozen=True, kw_only=True)
class MeasuredRule:
    """A rule that only measures: the first value out of its bounds drops the document."""

    kind: ClassVar[str]

    def measurements(self) -> tuple[Measurement, ...]:
        """What to measure, in order; checks without a bound are left out by `measured`."""
        raise NotImplementedError

    @cached_property
    def measured(self) -> tuple[Measurement, ...]:
        """The measurements that have a bound."""
        return tuple(
            one for one in self.measurements() if one.check.low is not None or one.check.high is not None
        )

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks that have a bound, in the order in which they decide."""
        return tuple(one.check for one in self.measured)

    def named(
        self, check: str, meaning: str, *, low: float | None = None, high: float | None = None
    ) -> Check:
        """A check of this rule."""
        return Check(f"{self.kind}.{check}", meaning, low, high)

    def judge(self, document: Features, *, every_score: bool) -> Finding:
        """Measure in order, up to the first failure unless `every_score`."""
        finding = Finding()
        for one in self.measured:
            if not every_score and one.passes is not None and one.passes(document):
                continue
            value = one.exact(document)
            finding.scores[one.check.name] = value
            bound = one.check.broken_by(value)
            if bound is not None and finding.verdict is None:
                finding.verdict = Verdict(one.check.name, value, bound)
                if not every_score:
                    break
        return finding


def apply_rules(rules: Sequence[Rule], text: str, *, every_score: bool = False) -> Outcome:
    """Run rules over a text in order; each sees what the one before it left.

    Args:
        every_score: run all of them, also after one that drops the document, and measure all that they
        measure.
    """
    document = Features(text)
    edits: dict[str, int] = {}
    scores: dict[str, float] = {}
    verdict: Verdict | None = None
    for rule in rules:
        found = rule.judge(document, every_score=every_score)
        scores |= found.scores
        if found.verdict is not None:
            verdict = verdict or found.verdict
            if not every_score:
                break
            continue
        for name, count in found.edits.items():
            edits[name] = edits.get(name, 0) + count
        if found.text is not None and found.text != document.text:
            document = Features(found.text, num_words=None if found.edits else document.num_words)
    return Outcome(document.text, edits, verdict, scores)


def checks_of(rules: Sequence[Rule]) -> dict[str, Check]:
    """Every check of some rules by name, in order: what a report has rows for."""
    return {check.name: check for rule in rules for check in rule.checks}
