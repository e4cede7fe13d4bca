"""What is kept of each document while duplicates are looked for: numbers in files, mapped, never its text.

A unit of documents leaves beside each other, under `work/` (all little-endian):

    sign-00000.facts    a FACTS a document
    sign-00000.prefer   float64 (documents, terms): how bad it is in each term of the preference
    sign-00000.ids      the ids, one behind the other, UTF-8
    sign-00000.bands    uint64 (bands, documents) for each BLOCK of documents, by near: one number a band

Documents are numbered through all units. An index of another corpus comes first, as a unit of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import ResourceError
from llmkit.text.clusters_prefer import FIRST, Term

WORK = "work"
FACTS = np.dtype(
    [
        ("high", "<u8"),
        ("low", "<u8"),
        ("content", "<u8"),
        ("id_end", "<u8"),
        ("source", "<u4"),
        ("elements", "<u4"),
    ]
)
"""`high`, `low`: digest of what has to be equal, 0 where there is nothing; `content`: of the text; `id_end`:
in .ids; `source`: its place in the unit's list; `elements`: shingles, 0 where there are none."""
BLOCK = 1 << 14
"""Documents whose bands stand together."""
_MOST_DOCUMENTS = (1 << 32) - 1


@dataclass(frozen=True)
class SignedUnit:
    """The files of one unit."""

    stem: str
    """Path without suffix."""
    sources: tuple[str, ...]
    num_terms: int

    @cached_property
    def facts(self) -> NDArray[np.void]:
        """(documents,) of FACTS."""
        return map_array(Path(f"{self.stem}.facts"), FACTS)

    def prefer(self) -> NDArray[np.float64]:
        """(documents, terms); of an index nothing is kept, as its documents come first anyway."""
        path = Path(f"{self.stem}.prefer")
        if not path.exists():
            return np.zeros((len(self.facts), self.num_terms))
        return map_array(path, np.dtype("<f8")).reshape(len(self.facts), self.num_terms)

    def band(self, number: int) -> NDArray[np.uint64]:
        """(documents,): the number of one band."""
        count = len(self.facts)
        found = np.empty(count, np.uint64)
        if not count:
            return found
        bands = map_array(Path(f"{self.stem}.bands"), np.dtype("<u8"))
        num_bands = len(bands) // count
        for start in range(0, count, BLOCK):
            size = min(BLOCK, count - start)
            first = start * num_bands + number * size
            found[start : start + size] = bands[first : first + size]
        return found

    def bands_of(self, documents: NDArray[np.int64]) -> NDArray[np.uint64]:
        """(bands, n): all numbers of some documents."""
        count = len(self.facts)
        bands = map_array(Path(f"{self.stem}.bands"), np.dtype("<u8"))
        starts = documents // BLOCK * BLOCK
        sizes = np.minimum(BLOCK, count - starts)
        numbers = np.arange(len(bands) // max(1, count))[:, None]
        return np.asarray(bands[starts * len(numbers) + numbers * sizes + documents - starts])

    def identity(self, document: int) -> str:
        """The id of one."""
        start = int(self.facts["id_end"][document - 1]) if document else 0
        return bytes(self._ids[start : int(self.facts["id_end"][document])]).decode()

    @cached_property
    def _ids(self) -> NDArray[np.uint8]:
        return map_array(Path(f"{self.stem}.ids"), np.dtype("u1"))


class Corpus:
    """All units as one: documents by their number."""

    def __init__(self, units: Sequence[SignedUnit], terms: Sequence[Term], *, has_index: bool) -> None:
        self.units = units
        self.bases: NDArray[np.int64] = np.concatenate(([0], np.cumsum([len(one.facts) for one in units])))
        """(units + 1,): the number of the first document of each."""
        self.num_fixed = int(self.bases[1]) if has_index else 0
        """Documents of the index: all are kept."""
        self._terms = [term for term in terms if term is not FIRST]
        self._keeps_first = FIRST in terms
        if self.num_documents > _MOST_DOCUMENTS:
            raise ResourceError(
                f"{self.num_documents:,} documents are more than can be numbered",
                hint="take parts of the corpus one after another, with --save-index and --against",
            )

    @property
    def num_documents(self) -> int:
        """Of the index too."""
        return int(self.bases[-1])

    def facts_of(self, documents: NDArray[np.integer], name: str) -> NDArray[np.uint64]:
        """One fact of some documents, in increasing order of their numbers."""
        return np.concatenate(
            [
                np.asarray(unit.facts[name][documents[part] - base])
                for unit, base, part in self.by_unit(documents)
            ]
            or [np.empty(0, np.uint64)]
        )

    def digests_of(self, documents: NDArray[np.uint32]) -> NDArray[np.uint64]:
        """Of the texts of some documents, in any order."""
        order = np.argsort(documents)
        found = np.empty(len(documents), np.uint64)
        found[order] = self.facts_of(documents[order].astype(np.int64), "content")
        return found

    def identity(self, document: int) -> str:
        """The id of one document."""
        unit = int(np.searchsorted(self.bases, document, "right")) - 1
        return self.units[unit].identity(document - int(self.bases[unit]))

    def sources_of(self, documents: NDArray[np.integer]) -> list[str]:
        """The sources of some documents, in any order."""
        numbers = np.searchsorted(self.bases, documents, "right") - 1
        places = documents.astype(np.int64) - self.bases[numbers]
        return [
            self.units[unit].sources[int(self.units[unit].facts["source"][place])]
            for unit, place in zip(numbers.tolist(), places.tolist(), strict=True)
        ]

    def rank(self, documents: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """How good each of some documents is among them, 0 the best.

        First those of the index, then as preferred, then by the digest of the text, then by id: nothing of it
        depends on the order of the input, but for `first`.

        Args:
            documents: in increasing order.
        """
        numbers = documents.astype(np.int64)
        keys: list[NDArray[np.generic]] = [numbers]
        if not self._keeps_first:
            keys.append(self.facts_of(numbers, "content"))
        if self._terms:
            prefer = [unit.prefer()[numbers[part] - base] for unit, base, part in self.by_unit(numbers)]
            keys += list(np.concatenate(prefer or [np.empty((0, len(self._terms)))]).T[::-1])
        keys.append(numbers >= self.num_fixed)
        order = np.lexsort(keys)
        if not self._keeps_first:
            self._order_ties_by_id(order, numbers, keys[1:])
        found = np.empty(len(order), np.uint32)
        found[order] = np.arange(len(order), dtype=np.uint32)
        return found

    def _order_ties_by_id(
        self, order: NDArray[np.intp], numbers: NDArray[np.int64], keys: list[NDArray[np.generic]]
    ) -> None:
        """Put what all keys call equal into the order of its ids."""
        tied = np.ones(max(len(order) - 1, 0), bool)
        for key in keys:
            tied &= key[order][1:] == key[order][:-1]
        edges = np.flatnonzero(np.diff(np.concatenate(([False], tied, [False])).astype(np.int8)))
        for start, stop in zip(edges[::2].tolist(), (edges[1::2] + 1).tolist(), strict=True):
            group = order[start:stop]
            names = [(self.identity(int(numbers[one])), one) for one in group.tolist()]
            order[start:stop] = [one for _, one in sorted(names)]

    def by_unit(self, documents: NDArray[np.integer]) -> list[tuple[SignedUnit, int, slice]]:
        """Each unit that has some of these documents, its first number, and which they are."""
        edges = np.searchsorted(documents, self.bases)
        return [
            (unit, int(self.bases[place]), slice(int(edges[place]), int(edges[place + 1])))
            for place, unit in enumerate(self.units)
            if edges[place] < edges[place + 1]
        ]


def map_array(path: Path, dtype: np.dtype) -> NDArray:  # type: ignore[type-arg]
    """A file of numbers as an array that takes no memory until it is looked at."""
    if not path.stat().st_size:
        return np.empty(0, dtype)
    return np.asarray(np.memmap(path, dtype, mode="r"))  # the mapping, without memmap's slow indexing
