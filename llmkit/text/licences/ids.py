"""Licences by their SPDX names: what people write, turned into an id or an expression; and a gate on them.

    "Apache License, Version 2.0"                    Apache-2.0
    "mit OR apache-2.0"                              MIT OR Apache-2.0
    "https://creativecommons.org/licenses/by/4.0/"   CC-BY-4.0
    "GPL v3+"                                        GPL-3.0-or-later
    "see the website"                                None: not known, which is not the same as free

An expression is a choice where it says OR: a gate lets it pass when one alternative passes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

from llmkit.errors import UsageError, nearest
from llmkit.text.licences.table import ALIASES, BY_LOWER, FAMILIES, SPDX_IDS
from llmkit.text.licences.urls import licence_of_url
from llmkit.text.rule import Verdict

UNKNOWN = "unknown"
_LONGEST = 300  # characters: an expression of more has ways beyond number
_FILLER = re.compile(
    r"\b(?:the|license|licence|licensed|version|ver|software|under|gnu|international|unported|deed|generic"
    r"|agreement)\b|(?:\b|(?<=[a-z]))v(?=\d)"
)
_GNU = re.compile(
    r"(?P<kind>l|lesser |library |a|affero )?(?:gpl|general public)\s?(?P<version>[123](?: [01])?)?"
    r"(?P<later>\s?(?:\+|or later|or any later|or newer|or greater))?(?: only)?"
)
_CREATIVE = re.compile(
    r"(?:cc|creative commons) (?P<parts>(?:by|nc|nd|sa|attribution|non ?commercial|share ?alike| "
    r"|no ?deriv(?:s|atives?)?(?: works?)?)+?)"
    r"(?: (?P<version>[1-4] [05])(?: (?P<port>[a-z]{2,3}))?)?(?: by(?: nc)?(?: nd| sa)?)?"
)
_PARTS = (
    ("by", "by|attribution"),
    ("nc", "nc|non ?commercial"),
    ("nd", "nd|no ?deriv"),
    ("sa", "sa|share ?alike"),
)


@lru_cache(maxsize=4096)
def normalise_licence(name: str) -> str | None:
    """The SPDX id or expression of a licence's name, URL or expression; None for a name that is not known."""
    name = name.strip()
    if len(name) > _LONGEST or name.count("(") != name.count(")"):
        return None
    doubled = re.fullmatch(r"(.+?)\s*\(([^()]+)\)", name)  # "The MIT License (MIT)"
    return _one(name) or _expression(name) or (_one(doubled[2]) or _one(doubled[1]) if doubled else None)


def alternatives(licence: str) -> list[frozenset[str]]:
    """The ways in which a licence may be taken: the ids that apply together, for each choice.

    Args:
        licence: an expression as `normalise_licence` gives it; exceptions (WITH) leave their licence's id.
    """
    tokens = licence.replace("(", " ( ").replace(")", " ) ").split()
    ways, at = _any_of(tokens, 0)
    return ways if at == len(tokens) else [frozenset((licence,))]


@dataclass(frozen=True)
class LicenceGate:
    """Licences that may pass, by id, by family, by pattern (CC-BY-*), or `unknown` for what has none.

    allow: where there are any, nothing else passes. deny: these do not, whatever `allow` says. require:
    documents without a known licence do not pass; the same as denying unknown, and as any `allow` without it.

    Raises:
        UsageError: a name that is none of these.
    """

    allow: Sequence[str] = ()
    deny: Sequence[str] = ()
    require: bool = False
    _allowed: tuple[str, ...] = field(init=False, default=())
    _denied: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_allowed", tuple(one for name in self.allow for one in _patterns(name)))
        object.__setattr__(self, "_denied", tuple(one for name in self.deny for one in _patterns(name)))

    def judge(self, licence: str | None) -> Verdict | None:
        """Whether a document under `licence` passes; the text of its metadata, in any spelling."""
        known = normalise_licence(licence) if licence else None
        if known is None:
            if self.require or UNKNOWN in self._denied or (self._allowed and UNKNOWN not in self._allowed):
                return Verdict("licence", licence or UNKNOWN, self._described())
            return None
        if any(all(self._passes(one) for one in way) for way in alternatives(known)):
            return None
        return Verdict("licence", known, self._described())

    def judge_all(self, licences: Sequence[str]) -> Verdict | None:
        """Whether a document under all of `licences` passes: each has to; none of them is an unknown one."""
        verdicts = map(self.judge, licences or (None,))
        return next((verdict for verdict in verdicts if verdict is not None), None)

    def _passes(self, one: str) -> bool:
        allowed = not self._allowed or any(fnmatchcase(one, pattern) for pattern in self._allowed)
        return allowed and not any(fnmatchcase(one, pattern) for pattern in self._denied)

    def _described(self) -> str:
        parts = [
            f"{word} {','.join(names)}"
            for word, names in (("allow", self.allow), ("deny", self.deny))
            if names
        ]
        return "; ".join([*parts, *(["require"] if self.require else [])])


def name_key(name: str) -> str:
    """A name without what spellings differ in: case, marks, "the", "licence", "version"."""
    words = re.sub(r"[^a-z0-9+]+", " ", name.lower())
    return re.sub(r"\s+", " ", _FILLER.sub(" ", words)).strip()


def _patterns(name: str) -> tuple[str, ...]:
    """The patterns of ids that a name in a gate stands for."""
    word = name.strip()
    if word.lower() == UNKNOWN:
        return (UNKNOWN,)
    if word.lower() in FAMILIES:
        return FAMILIES[word.lower()]
    if any(character in word for character in "*?["):
        matching = tuple(one for one in SPDX_IDS if fnmatchcase(one.lower(), word.lower()))
        if matching:
            return tuple(sorted(matching))
    known = normalise_licence(word)
    if known is not None and " " not in known:
        is_open = _GNU.fullmatch(name_key(word)) and not re.search(r"only|later|\+", word, re.IGNORECASE)
        return (known, known.replace("-only", "-or-later")) if is_open else (known,)
    close = nearest(word, [*SPDX_IDS, *FAMILIES, UNKNOWN])
    hint = f"did you mean {close}?" if close else f"an SPDX id, {UNKNOWN}, or one of {', '.join(FAMILIES)}"
    raise UsageError(f"{name}: no licence that is known", hint=hint)


def _one(name: str) -> str | None:
    """The id of a single licence."""
    if (exact := BY_LOWER.get(name.lower())) is not None:
        return exact
    if "://" in name or name.startswith(("www.", "//")):
        return licence_of_url(name)
    if re.fullmatch(r"LicenseRef-[A-Za-z0-9.-]+", name):
        return name
    key = name_key(name)
    if (found := BY_LOWER.get(key.replace(" ", "-")) or ALIASES.get(key)) is not None:
        return found
    dotted = re.sub(r"(?<=\d) (?=\d\b)", ".", key).replace(" ", "-")  # "apache 2 0", "mpl 2 0"
    if (
        found := BY_LOWER.get(dotted) or BY_LOWER.get(f"{dotted}.0") or BY_LOWER.get(f"{dotted}-clause")
    ) is not None:
        return found
    return _gnu(key) or _creative(key)


def _gnu(key: str) -> str | None:
    found = _GNU.fullmatch(key)
    if found is None:
        return None
    kind = {"l": "LGPL", "a": "AGPL"}.get((found["kind"] or "")[:1], "GPL")
    version = (found["version"] or {"GPL": "3", "LGPL": "3", "AGPL": "3"}[kind]).replace(" ", ".")
    whole = version if "." in version else f"{version}.0"
    return BY_LOWER.get(f"{kind}-{whole}-{'or-later' if found['later'] or '+' in key else 'only'}".lower())


def _creative(key: str) -> str | None:
    found = _CREATIVE.fullmatch(key)
    if found is None:
        return None
    parts = "-".join(short for short, pattern in _PARTS if re.search(rf"\b(?:{pattern})", found["parts"]))
    version = (found["version"] or "4 0").replace(" ", ".")
    base = f"cc-{parts}-{version}"
    return BY_LOWER.get(f"{base}-{found['port']}") or BY_LOWER.get(base)


def _expression(name: str) -> str | None:
    """An expression with each id in its own spelling; None unless every id is known."""
    if not re.search(r"\b(?:AND|OR|WITH)\b|[/()]", name, re.IGNORECASE):
        return None
    name = re.sub(r"(?<=\w)\s*/\s*(?=\w)", " OR ", name)  # "MIT/Apache-2.0", as crates once wrote it
    parts: list[str] = []
    after_with = False
    for piece in re.split(r"(\(|\)|\b(?:AND|OR|WITH)\b)", name, flags=re.IGNORECASE):
        word = piece.strip()
        if word.upper() in ("AND", "OR", "WITH") or word in ("(", ")"):
            parts.append(word.upper())
        elif word:
            known = word if after_with else _one(word)
            if known is None:
                return None
            parts.append(known)
        after_with = word.upper() == "WITH" or (after_with and not word)
    text = " ".join(parts).replace("( ", "(").replace(" )", ")")
    tokens = text.replace("(", " ( ").replace(")", " ) ").split()
    try:
        _, at = _any_of(tokens, 0)
    except IndexError:
        return None
    return text if at == len(tokens) else None


Ways = list[frozenset[str]]


def _any_of(tokens: list[str], at: int) -> tuple[Ways, int]:
    ways, at = _all_of(tokens, at)
    while at < len(tokens) and tokens[at] == "OR":
        more, at = _all_of(tokens, at + 1)
        ways = ways + more
    return ways, at


def _all_of(tokens: list[str], at: int) -> tuple[Ways, int]:
    ways, at = _single(tokens, at)
    while at < len(tokens) and tokens[at] == "AND":
        more, at = _single(tokens, at + 1)
        ways = [one | other for one in ways for other in more]
    return ways, at


def _single(tokens: list[str], at: int) -> tuple[Ways, int]:
    """An id (IndexError where there is none), with or without an exception, or what stands in parentheses."""
    if tokens[at] == "(":
        ways, at = _any_of(tokens, at + 1)
        return ways, at + 1 if tokens[at] == ")" else len(tokens) + 1
    if tokens[at] in ("AND", "OR", "WITH", ")"):
        raise IndexError("an id was expected")
    after = at + 1
    if after < len(tokens) and tokens[after] == "WITH":
        after += 2
    return [frozenset((tokens[at],))], after
