"""What `clean` counts: small enough to travel with each batch, and the same whoever adds it up in what order.

Values are kept as a histogram whose buckets are 2 % wide, so that quantiles of any number of documents can be
merged; whole numbers below 4096 are kept as they are. Samples are those with the smallest hash of their line.
"""

import math
from collections.abc import Iterable
from typing import Any

import msgspec

MOST_SAMPLES = 5
SAMPLE_LETTERS = 600
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_LOG_WIDTH = math.log(1.02)
_EXACT = 4096
_MIDDLE = 20_000  # the bucket of 1.0; those of 1e-150 to 1e150 lie within 17,500 of it


class Sample(msgspec.Struct, frozen=True, order=True):
    """A document as an example: what a rule dropped, or an edit before and after."""

    hash: int
    id: str
    file: str
    line: int
    before: str
    after: str | None = None
    value: float | str | None = None
    threshold: float | str | None = None


class Count(msgspec.Struct):
    """How often something happened, to how many bytes, and examples of it."""

    documents: int = 0
    bytes: int = 0
    samples: list[Sample] = msgspec.field(default_factory=list)

    def add(self, size: int, sample: Sample | None) -> None:
        """One document more."""
        self.documents += 1
        self.bytes += size
        if sample is not None:
            self.samples = _fewest([*self.samples, sample])

    def merge(self, other: "Count") -> None:
        """Those of another batch."""
        self.documents += other.documents
        self.bytes += other.bytes
        if other.samples:
            self.samples = _fewest([*self.samples, *other.samples])


class Tally(msgspec.Struct):
    """Documents and bytes of a run or of a part of it. Bytes are those of input lines, without line feeds."""

    documents: int = 0
    bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0
    """Of the kept documents as they came."""
    written_bytes: int = 0
    """Of the kept documents as they were written."""
    changed: int = 0
    """Kept documents whose text is another than it was."""
    pages: int = 0
    """Of the documents, those that came as responses in WARC or as HTML."""
    malformed: int = 0
    malformed_bytes: int = 0
    dropped: dict[str, Count] = msgspec.field(default_factory=dict)
    """By the name of the check; in mode `tag` every check that would have dropped, and all are kept."""
    edits: dict[str, Count] = msgspec.field(default_factory=dict)
    edit_counts: dict[str, int] = msgspec.field(default_factory=dict)
    values: dict[str, dict[int, int]] = msgspec.field(default_factory=dict)
    """Histograms of the values of checks."""

    def take_values(self, scores: dict[str, float]) -> None:
        """Count each value in its bucket."""
        for name, value in scores.items():
            buckets = self.values.get(name)
            if buckets is None:
                buckets = self.values[name] = {}
            bucket = bucket_of(value)
            buckets[bucket] = buckets.get(bucket, 0) + 1

    def merge(self, other: "Tally") -> None:
        """Add what another part counted."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, theirs in ((self.dropped, other.dropped), (self.edits, other.edits)):
            for name, count in theirs.items():
                mine.setdefault(name, Count()).merge(count)
        for name, number in other.edit_counts.items():
            self.edit_counts[name] = self.edit_counts.get(name, 0) + number
        for name, buckets in other.values.items():
            sums = self.values.setdefault(name, {})
            for bucket, number in buckets.items():
                sums[bucket] = sums.get(bucket, 0) + number


_NUMBERS = tuple(
    name for name in Tally.__struct_fields__ if name not in ("dropped", "edits", "edit_counts", "values")
)


def bucket_of(value: float) -> int:
    """The bucket of a value; see `value_of`."""
    if value == int(value) and -_EXACT < value < _EXACT:
        return int(value)
    bucket = _MIDDLE + round(math.log(abs(value)) / _LOG_WIDTH)
    return bucket if value > 0 else -bucket


def value_of(bucket: int) -> float:
    """The value that stands for a bucket, within 1 % of those in it."""
    if -_EXACT < bucket < _EXACT:
        return float(bucket)
    return math.copysign(math.exp((abs(bucket) - _MIDDLE) * _LOG_WIDTH), bucket)


def quantiles_of(buckets: dict[int, int], shares: Iterable[float] = QUANTILES) -> dict[str, float]:
    """Quantiles by name (`p05`), and `min` and `max`, from a histogram; none where it is empty."""
    ordered = sorted((value_of(bucket), number) for bucket, number in buckets.items())
    total = sum(number for _, number in ordered)
    if not total:
        return {}
    found = {"min": ordered[0][0]}
    for share in shares:
        rank = share * (total - 1)
        seen = 0
        for value, number in ordered:
            seen += number
            if seen > rank:
                found[f"p{round(share * 100):02d}"] = value
                break
    found["max"] = ordered[-1][0]
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def tally_report(tally: Tally) -> dict[str, Any]:
    """A tally as plain values, for a receipt."""
    return msgspec.to_builtins(tally, str_keys=True)


def tally_from(report: dict[str, Any]) -> Tally:
    """The tally in a receipt."""
    return msgspec.convert(report, Tally, strict=False)


def _fewest(samples: list[Sample]) -> list[Sample]:
    return sorted(set(samples), key=lambda sample: (sample.hash, sample.file, sample.line))[:MOST_SAMPLES]
