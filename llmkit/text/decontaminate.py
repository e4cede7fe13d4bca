"""Test sets kept out of training text: an index of their runs of words, and what a document shares.

A run of 13 words (GPT-3, 2005.14165, appendix C) is long enough that two authors hardly ever share one. Words
are those of shingles.py: case, accents and punctuation do not count. An item of 8 to 12 words is looked for
as a whole; one of fewer would be found everywhere, so it is not looked for. A document is not cut: it is
kept, or dropped with the run that it shares.

A run of numbers and single letters (1 2 3 4 …) is nobody's: with fewer than three words beside them a run is
left out. 20 bytes a run: 8 of hash, 4 for the item that it came from, and 8 for its first eight words, which
are all that is looked up in a document that shares nothing. A document's run is taken for one of a million
others with a chance of one in 10^13.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from llmkit.text.rule import Verdict
from llmkit.text.shingles import Hashes, batches, shingle

NGRAM = 13
"""Words of a run."""
FEWEST = 8
"""Words of the shortest item that is looked for."""
FEWEST_TELLING = 3
"""Words of a run that are neither numbers nor single ASCII letters."""
_WORD = re.compile(r"\w+")
_TRIVIAL = re.compile(r"\d+|[A-Za-z_]")
_NO_CONTENT = frozenset(
    (
        "id",
        "task_id",
        "subject",
        "category",
        "url",
        "source",
        "metadata",
        "attributes",
        "entry_point",
        "license",
    )
)


class Overlap(msgspec.Struct, frozen=True):
    """What a document shares with the test sets: nothing where count is 0.

    count: places in the document where a known run stands; ratio: of all places that have one.
    match, source: the words of the first, and the name of an item that has them.
    """

    count: int
    ratio: float
    match: str
    source: str


@dataclass(frozen=True)
class NgramIndex:
    """Runs of words of the test sets, by their length: (hashes, numbers of items), both (N,).

    starts: hashes of every run of 8 words in the items, sorted: one of them is in any document that shares
    something.
    """

    starts: Hashes
    runs: Mapping[int, tuple[Hashes, NDArray[np.uint32]]]
    names: Sequence[str]

    @property
    def num_runs(self) -> int:
        """How many different runs there are."""
        return sum(len(hashes) for hashes, _ in self.runs.values())

    def overlap(self, text: str) -> Overlap:
        """What a document shares with the test sets."""
        count, places, first = 0, 0, None
        if not _any_known(shingle([text], ngram=FEWEST).hashes, self.starts):
            return Overlap(0, 0.0, "", "")
        for ngram, (known, items) in self.runs.items():
            hashes = shingle([text], ngram=ngram).hashes
            at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
            hits = np.flatnonzero(known[at] == hashes)
            places += len(hashes)
            count += len(hits)
            if len(hits) and first is None:
                first = (ngram, int(hits[0]), self.names[items[at[hits[0]]]])
        if first is None:
            return Overlap(0, 0.0, "", "")
        return Overlap(count, count / places, _words_at(text, first[1], first[0]), first[2])

    def judge(self, text: str, most: int = 0) -> Verdict | None:
        """None unless more than `most` places of a document stand in a test set; the value is the first."""
        found = self.overlap(text)
        return Verdict("contaminated", found.match, most) if found.count > most else None


def build_index(items: Iterable[tuple[str, str]]) -> NgramIndex:
    """The index of some items.

    Args:
        items: a name (as `gsm8k-test.jsonl:12`) and a text each; the same name may come more than once.
    """
    pairs = list(items)
    texts = [text for _, text in pairs]
    numbers: dict[str, int] = {}
    owners = np.array([numbers.setdefault(name, len(numbers)) for name, _ in pairs], np.uint32)
    words = _counts(texts)
    runs = {}
    for length in range(NGRAM, FEWEST - 1, -1):
        chosen = np.flatnonzero(words >= NGRAM if length == NGRAM else words == length)
        found = _runs([texts[one] for one in chosen], owners[chosen], length)
        if len(found[0]):
            runs[length] = found
    long = [texts[one] for one in np.flatnonzero(words >= FEWEST)]
    parts = [shingle(long[part], ngram=FEWEST).hashes for part in batches([len(text) for text in long])]
    starts = np.unique(np.concatenate(parts)) if parts else np.empty(0, np.uint64)
    return NgramIndex(starts, runs, list(numbers))


def evaluation_texts(record: Mapping[str, Any]) -> list[str]:
    """What a test set's record is read for: every text in it, however deep, but for names and labels."""
    return list(_texts(record))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in _NO_CONTENT:
                yield from _texts(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _texts(inner)


def _counts(texts: Sequence[str]) -> NDArray[np.int64]:
    """How many words each text has."""
    parts = [
        np.diff(shingle(texts[part], ngram=1).offsets) for part in batches([len(text) for text in texts])
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _runs(texts: Sequence[str], owners: NDArray[np.uint32], ngram: int) -> tuple[Hashes, NDArray[np.uint32]]:
    hashes, items = [], []
    for part in batches([len(text) for text in texts]):
        found = shingle(texts[part], ngram=ngram)
        telling = [
            _telling(text, ngram, int(count))
            for text, count in zip(texts[part], np.diff(found.offsets), strict=True)
        ]
        kept = np.concatenate(telling)
        hashes.append(found.hashes[kept])
        items.append(np.repeat(owners[part], np.diff(found.offsets))[kept])
    together = np.concatenate([np.empty(0, np.uint64), *hashes])
    known, first = np.unique(together, return_index=True)  # of items that share a run the first has it
    return known, np.concatenate([np.empty(0, np.uint32), *items])[first]


def _telling(text: str, ngram: int, count: int) -> NDArray[np.bool_]:
    """(count,): which runs of a text have words enough that are no numbers or letters.

    All of them where words are not told apart by white space and marks alone, as in Japanese.
    """
    words = _WORD.findall(text)
    if len(words) - ngram + 1 != count:
        return np.ones(count, bool)
    sums = np.cumsum([0, *(_TRIVIAL.fullmatch(word) is None for word in words)])
    return (sums[ngram:] - sums[:-ngram]) >= FEWEST_TELLING


def _any_known(hashes: Hashes, known: Hashes) -> bool:
    if not len(known):
        return False
    return bool((known[np.minimum(np.searchsorted(known, hashes), len(known) - 1)] == hashes).any())


def _words_at(text: str, place: int, ngram: int) -> str:
    """The words of the run at `place`, as they stand in the text, on one line."""
    low, high = 0, len(text)
    while low < high:  # the shortest start of the text that has a part of them all
        middle = (low + high) // 2
        low, high = (low, middle) if _num_words(text[:middle]) >= place + ngram else (middle + 1, high)
    end = low
    near = max(0, end - 100)
    while (
        end < len(text)
        and text[end].isalnum()
        and _num_words(text[near : end + 1]) == _num_words(text[near:end])
    ):
        end += 1  # the last word is whole
    low, high = 0, end
    while low < high:  # the longest beginning that can be left out
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _num_words(text[middle:end]) >= ngram else (low, middle - 1)
    start = low
    while start > 0 and text[start - 1].isalnum() and _num_words(text[start - 1 : end]) == ngram:
        start -= 1  # and so is the first
    return " ".join(text[start:end].split())


def _num_words(text: str) -> int:
    return len(shingle([text], ngram=1).hashes)
