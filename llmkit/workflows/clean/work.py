"""A batch of lines through the steps of `clean`: what is kept, what is rejected, and the counts of both."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType

import msgspec
import xxhash

from llmkit.errors import DataError
from llmkit.formats.jsonl import BadLine, encode_line
from llmkit.formats.rejects import reject_record
from llmkit.text.rule import Check, Verdict
from llmkit.workflows.clean.input import Batch, Entry
from llmkit.workflows.clean.item import HTML, HeadReader, Item, keep_line, reject_line
from llmkit.workflows.clean.options import CleanSettings
from llmkit.workflows.clean.tally import SAMPLE_LETTERS, Count, Sample, Tally

_LEAD = 80  # letters before the first difference in a sample of an edit


class Step(ABC):
    """One thing that `clean` does to each document."""

    checks: tuple[Check, ...] = ()
    """What it may drop a document for, in the order in which it decides."""
    of_pages: bool = False
    """Whether it has nothing to do where there are no pages."""

    @abstractmethod
    def __call__(self, item: Item, *, every_score: bool) -> Sequence[Verdict]:
        """Change the document, and say why it is to be dropped.

        Returns:
            Nothing, or the first reason; with `every_score` every reason.
        """

    def close(self) -> None:  # noqa: B027 (most hold nothing open)
        """Let go of what it holds open."""


class Cleaned(msgspec.Struct, frozen=True, array_like=True):
    """What came out of a batch: lines kept, lines rejected, counts."""

    kept: bytes
    rejects: bytes
    tally: Tally


class Cleaner:
    """Runs steps over batches.

    Args:
        settings: what to do with what the steps say.
        steps: in the order in which they run.
    """

    def __init__(self, settings: CleanSettings, steps: Sequence[Step]) -> None:
        self._settings = settings
        self._steps = steps
        self._reader = HeadReader(settings.field, takes_html=settings.extract is not None)
        self._every = settings.mode == "tag" or settings.report

    def __enter__(self) -> "Cleaner":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for step in self._steps:
            step.close()

    def __call__(self, batch: Batch) -> Cleaned:
        """Clean a batch.

        Raises:
            DataError: a line is malformed and the settings do not pass over it.
        """
        kept: list[bytes] = []
        rejects: list[bytes] = []
        tally = Tally()
        for entry in batch:
            size = len(entry.content)
            tally.documents += 1
            tally.bytes += size
            tally.pages += entry.page is not None
            try:
                item = self._reader.read(entry)
                verdicts = self.run(item, tally)
                line = self._settle(item, verdicts, tally)
            except DataError as error:
                bad = BadLine.of(error, entry.content, entry.file, entry.line)
                if not self._settings.keep_bad:
                    raise DataError(f"{bad.file}:{bad.number}: {bad.problem}", hint=error.hint) from None
                tally.malformed += 1
                tally.malformed_bytes += size
                rejects.append(encode_line(reject_record(bad, "clean")))
                continue
            if line is not None:
                tally.kept += 1
                tally.kept_bytes += size
                tally.written_bytes += len(line) - 1
                kept.append(line)
            elif self._settings.rejects:
                rejects.append(reject_line(entry, verdicts[0]))
        return Cleaned(b"".join(kept), b"".join(rejects) if self._settings.rejects else b"", tally)

    def checks(self, *, pages: bool) -> tuple[Check, ...]:
        """What documents may be dropped for, in order; of pages too where there are some."""
        return tuple(check for step in self._steps if pages or not step.of_pages for check in step.checks)

    def explain(self, entry: Entry) -> tuple[Item, list[Verdict]]:
        """One document by itself: what it became, and every reason to drop it.

        Raises:
            DataError: it is malformed.
        """
        item = self._reader.read(entry)
        return item, self.run(item, Tally())

    def run(self, item: Item, tally: Tally) -> list[Verdict]:
        """Every step, up to the first that drops the document unless all are to be measured."""
        verdicts: list[Verdict] = []
        for step in self._steps:
            before = item.text
            edits, item.edits = item.edits, {}
            verdicts += step(item, every_score=self._every)
            if not verdicts or self._settings.mode == "tag":
                if before is None and item.text is not None:
                    self._count_edits(item, {f"text of {HTML}": 1}, _near(item.html or "", item.text), tally)
                self._count_edits(item, item.edits, before, tally)
            if edits:
                item.edits = edits | {name: edits.get(name, 0) + n for name, n in item.edits.items()}
            if verdicts and (item.text is None or not self._every):
                break
        if item.scores and self._settings.report:
            tally.take_values(item.scores)
        return verdicts

    def _settle(self, item: Item, verdicts: Sequence[Verdict], tally: Tally) -> bytes | None:
        """The line to keep, None for a document that is dropped; both are counted."""
        tags = self._settings.mode == "tag" and item.text is not None
        if not verdicts and not tags and not item.is_changed:
            return keep_line(item, None)
        size = len(item.entry.content)
        for verdict in verdicts if tags else verdicts[:1]:
            sample = self._sample(item, verdict) if self._settings.report else None
            tally.dropped.setdefault(verdict.rule, Count()).add(size, sample)
        if verdicts and not tags:
            return None
        if tags and self._steps:
            item.tags["clean"] = [msgspec.structs.asdict(verdict) for verdict in verdicts]
        if not item.is_changed:  # no step at all
            return keep_line(item, None)
        edits = {"edits": dict(sorted(item.edits.items()))} if item.edits else {}
        line = keep_line(item, {"stage": "clean", **item.chosen, **edits} if item.chosen or edits else None)
        tally.changed += item.text != item.original
        return line

    def _sample(self, item: Item, verdict: Verdict) -> Sample:
        text = item.original if item.original is not None else item.text or item.html or ""
        return _sample(item, text[:SAMPLE_LETTERS], None, verdict.value, verdict.threshold)

    def _count_edits(self, item: Item, edits: dict[str, int], before: str | None, tally: Tally) -> None:
        size = len(item.entry.content)
        for name, number in edits.items():
            sample = None
            if self._settings.report and before is not None and item.text is not None:
                start = max(0, _first_difference(before, item.text) - _LEAD)
                old, new = (text[start : start + SAMPLE_LETTERS] for text in (before, item.text))
                sample = _sample(item, old, new, number, None)
            tally.edits.setdefault(name, Count()).add(size, sample)
            tally.edit_counts[name] = tally.edit_counts.get(name, 0) + number


def _sample(
    item: Item,
    before: str,
    after: str | None,
    value: float | str | None,
    threshold: float | str | None,
) -> Sample:
    entry = item.entry
    hashed = xxhash.xxh3_64_intdigest(entry.content)
    value, threshold = (float(one) if isinstance(one, int) else one for one in (value, threshold))
    return Sample(hashed, item.identity, entry.file, entry.line, before, after, value, threshold)


def _near(html: str, text: str) -> str:
    """HTML from shortly before the place where the first words of its text stand."""
    return html[max(0, html.find(" ".join(text[:_LEAD].split()[:3])) - _LEAD) :]


def _first_difference(one: str, other: str) -> int:
    """The first place where two texts differ, found by halving."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
