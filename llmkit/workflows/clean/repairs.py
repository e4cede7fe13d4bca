"""Steps of `clean` that change a document: text out of HTML, encodings, personal data."""

from collections import Counter
from collections.abc import Callable, Sequence

from llmkit.text.extract_process import Extractor
from llmkit.text.mojibake import repair_mojibake
from llmkit.text.normalise import normalise
from llmkit.text.pii.pii import apply_pii, find_pii
from llmkit.text.rule import Check, Verdict
from llmkit.workflows.clean.item import Item
from llmkit.workflows.clean.options import Extract, Pii
from llmkit.workflows.clean.work import Step

REPAIRS: dict[str, Callable[[str], tuple[str, int]]] = {"mojibake": repair_mojibake, "normalise": normalise}
"""In their order: what is mojibake to begin with may be a character of control."""


class TakeText(Step):
    """Takes the text out of HTML; a page that hangs or crashes the library costs itself alone.

    Args:
        method: `none` takes the markup as the text.
        seconds: of CPU time for one page.
        is_sure: whether there will be HTML; else it is of pages alone, and asks for no library before one.

    Raises:
        MissingError: the library of the method is not installed.
    """

    checks = (
        Check("extract timeout", "CPU seconds that extraction took"),
        Check("extract crash", "how the extractor ended"),
        Check("extract error", "what the extractor said"),
        Check("extract empty", "whether the page has content"),
    )

    def __init__(self, method: Extract, seconds: float, *, is_sure: bool = True) -> None:
        self._method = method
        self._seconds = seconds
        self.of_pages = not is_sure
        self._extractor = self._opened() if is_sure else None

    def __call__(self, item: Item, *, every_score: bool) -> Sequence[Verdict]:
        """Take the text out where there is HTML."""
        if item.text is not None:
            return ()
        if item.html is None:  # a response without a type, which is no HTML either
            return (Verdict("extract empty", 0, 1),)
        self._extractor = self._extractor or self._opened()
        if self._extractor is None:
            item.text = item.html
            return ()
        found = self._extractor(item.html)
        if found.verdict is not None:
            return (found.verdict,)
        item.text = found.text
        item.chosen["extract"] = self._method
        if found.title and "title" not in item.within("metadata"):
            item.facts["title"] = found.title
        return ()

    def _opened(self) -> Extractor | None:
        return None if self._method == "none" else Extractor(self._method, seconds=self._seconds)

    def close(self) -> None:
        """End the extractor's process."""
        if self._extractor is not None:
            self._extractor.close()


class Repair(Step):
    """One repair that `--fix-encoding` makes: text decoded in a wrong encoding, or what nobody can see.

    Args:
        name: a key of `REPAIRS`, and of the edits that it makes.

    Raises:
        MissingError: ftfy is not installed.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._repair = REPAIRS[name]
        if self._repair is repair_mojibake:
            repair_mojibake("é")  # says now if its package is missing

    def __call__(self, item: Item, *, every_score: bool) -> Sequence[Verdict]:
        """Repair what is broken."""
        assert item.text is not None
        text, edits = self._repair(item.text)
        if edits and text != item.text:
            item.text = text
            item.edits[self._name] = edits
        return ()


class PersonalData(Step):
    """Masks or tags personal data, or drops what has any."""

    def __init__(self, mode: Pii) -> None:
        self._mode = mode
        self.checks = (Check("pii", "personal data by kind"),) if mode == "drop" else ()

    def __call__(self, item: Item, *, every_score: bool) -> Sequence[Verdict]:
        """Find it, and do what the mode says."""
        assert item.text is not None
        spans = find_pii(item.text)
        if not spans:
            return ()
        item.text, verdict = apply_pii(item.text, spans, self._mode)
        if self._mode == "mask":
            item.edits.update(Counter(f"pii {span.kind}" for span in spans))
        elif self._mode == "tag":
            item.tags["pii"] = spans
        return () if verdict is None else (verdict,)
