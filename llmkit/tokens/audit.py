"""What can be wrong with an example that a model is to learn from, and how often it was.

Each fault has a name, so that a person finds it in the report, in --rejects and in the documentation.
"""

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from llmkit.errors import DataError

FAULTS: dict[str, str] = {
    "record.shape": "the record has not the keys or values that the method learns from",
    "role.unknown": "a message's role is none that chat templates know",
    "template.refused": "the chat template refuses the messages",
    "mask.unclear": "it cannot be told which part of the rendered text the assistant wrote",
    "mask.zero": "no token is learnt: there is no answer in it",
    "answer.empty": "an answer has no text",
    "cut.all": "truncation took the whole answer away",
    "long.dropped": "longer than --max-tokens, left out as --long drop asks",
    "record.duplicate": "the same conversation came before",
    "pair.equal": "chosen and rejected are the same",
    "cut.answer": "truncation took the end of an answer away",
    "bos.double": "two begin tokens in a row",
    "end.missing": "an answer is learnt without a token that ends it, so the model is not taught to stop",
    "mask.prompt": "the template's generation block takes in what the assistant has not written",
    "text.special": "a message spells a special token, which is read as that token after a template",
    "text.lost": "the template leaves out a message, or a part of one",
}
"""Every fault, the gravest first."""

KEPT = frozenset({"cut.answer", "bos.double", "end.missing", "mask.prompt", "text.special", "text.lost"})
"""Faults of examples that are learnt all the same; one with any other fault is left out."""


@dataclass(frozen=True)
class Fault:
    """One thing found in one example."""

    rule: str
    problem: str
    value: float | None = None
    threshold: float | None = None

    @property
    def kept(self) -> bool:
        """Whether the example is learnt all the same."""
        return self.rule in KEPT


class ExampleError(DataError):
    """A record that no example can be made of; `rule` is the fault's name."""

    def __init__(self, rule: str, problem: str, *, hint: str) -> None:
        super().__init__(problem, hint=hint)
        self.rule = rule

    @property
    def fault(self) -> Fault:
        """As one of a list of faults."""
        return Fault(self.rule, self.problem)


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in all examples of one set."""

    schema: str = "llmkit.mask-audit/1"
    records: int
    """Read, those of the other side of a split left out."""
    examples: int
    """Learnt; a pair counts once."""
    tokens: int
    """Of those."""
    learnt_tokens: int
    cut_tokens: int
    """That truncation took from examples that are learnt."""
    shapes: dict[str, int]
    faults: dict[str, int]
    """Records by fault, those that were not found left out; a record may have several."""
    first: dict[str, str]
    """For each fault, where it was found first and what was found."""

    @property
    def faulty(self) -> int:
        """Findings in all."""
        return sum(self.faults.values())


@dataclass
class Audit:
    """Counts while the examples go by."""

    records: int = 0
    examples: int = 0
    tokens: int = 0
    learnt_tokens: int = 0
    cut_tokens: int = 0
    shapes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def take_faults(self, where: str, faults: list[Fault]) -> None:
        """Count what one record has, each fault once."""
        for rule, fault in {fault.rule: fault for fault in reversed(faults)}.items():
            self.faults[rule] += 1
            self.first.setdefault(rule, f"{where}: {fault.problem}")

    def take_tokens(self, tokens: int, learnt: int, cut: int) -> None:
        """Count the tokens of an answer that is learnt, with its prompt."""
        self.tokens += tokens
        self.learnt_tokens += learnt
        self.cut_tokens += cut

    def report(self) -> AuditReport:
        """The counts as they are now, faults in the order of `FAULTS`."""
        return AuditReport(
            records=self.records,
            examples=self.examples,
            tokens=self.tokens,
            learnt_tokens=self.learnt_tokens,
            cut_tokens=self.cut_tokens,
            shapes=dict(sorted(self.shapes.items())),
            faults={rule: self.faults[rule] for rule in FAULTS if self.faults[rule]},
            first={rule: self.first[rule] for rule in FAULTS if rule in self.first},
        )


def gravest(faults: list[Fault]) -> Fault:
    """The first of some faults in the order of `FAULTS`."""
    order = list(FAULTS)
    return min(faults, key=lambda fault: order.index(fault.rule))
