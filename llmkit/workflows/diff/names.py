"""Which tensor of A is which of B: by name, or by what is left of it behind a prefix."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import msgspec

from llmkit.model.file_names import HEADS

_DEEPEST_PREFIX = 3
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight")


class Prefix(msgspec.Struct, frozen=True, kw_only=True):
    """What the names of A begin with where those of B begin with something else."""

    a: str
    b: str
    tensors: int


@dataclass(frozen=True)
class Pairing:
    """Names that belong together, and those that have no counterpart, in the order of their files."""

    pairs: list[tuple[str, str]]
    only_a: list[str]
    only_b: list[str]
    prefix: Prefix | None


def pair_names(a: Collection[str], b: Collection[str]) -> Pairing:
    """Pair equal names; of the rest those that are equal behind one prefix, if most of the rest are."""
    known_a, known_b = set(a), set(b)
    only_a, only_b = [name for name in a if name not in known_b], [name for name in b if name not in known_a]
    counterpart = {name: name for name in known_a & known_b}
    prefix = _common_prefix(only_a, only_b)
    if prefix is not None:
        left = set(only_b)
        for name in only_a:
            other = prefix.b + name.removeprefix(prefix.a)
            if name.startswith(prefix.a) and other in left:
                counterpart[name] = other
    taken = set(counterpart.values())
    return Pairing(
        pairs=[(name, counterpart[name]) for name in a if name in counterpart],
        only_a=[name for name in only_a if name not in counterpart],
        only_b=[name for name in only_b if name not in taken],
        prefix=prefix,
    )


def embedding_of(head: str, names: Collection[str]) -> str | None:
    """The embedding that a head of this name may be tied to; None where it is no head, or there is none."""
    if not head.endswith(HEADS):
        return None
    return next((name for name in names if name.endswith(_EMBEDDINGS)), None)


def _common_prefix(only_a: list[str], only_b: list[str]) -> Prefix | None:
    """The pair of prefixes that explains most names, if it explains half of the shorter list."""
    tails: dict[str, list[str]] = {}
    for name in only_b:
        for before, tail in _splits(name):
            tails.setdefault(tail, []).append(before)
    counts: Counter[tuple[str, str]] = Counter()
    for name in only_a:
        counts.update({(mine, other) for mine, tail in _splits(name) for other in tails.get(tail, ())})
    if not counts:
        return None
    best = max(counts, key=lambda pair: (counts[pair], -len(pair[0] + pair[1])))
    if 2 * counts[best] < min(len(only_a), len(only_b)):
        return None
    return Prefix(a=best[0], b=best[1], tensors=counts[best])


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """(`model.`, `norm.weight`) and so on: prefixes without a layer's number, tails of two words or more."""
    yield "", name
    words = name.split(".")
    for cut in range(1, min(_DEEPEST_PREFIX, len(words) - 2) + 1):
        if words[cut - 1].isdigit():
            return
        yield ".".join(words[:cut]) + ".", ".".join(words[cut:])
