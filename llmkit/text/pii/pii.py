"""Personal data in a text: where it is, and masked, tagged or a reason to drop the document.

    email ip phone card iban secret      the kinds; <EMAIL> <IP> <PHONE> <CARD> <IBAN> <SECRET> their marks

What is found has a form that can be checked. Names, streets and dates of birth have none and are not looked
for. The marks are always the same: a text whose data was masked shows that it was, and stays as it is when
it is masked again.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from llmkit.text.pii.addresses import find_emails, find_ips
from llmkit.text.pii.numbers import Row, find_cards, find_ibans, find_phones, number_rows
from llmkit.text.pii.secrets import find_secrets
from llmkit.text.rule import Verdict

PiiMode = Literal["mask", "tag", "drop"]
_FINDERS: dict[
    str, Callable[[str, list[Row]], Iterator[tuple[int, int]]]
] = {  # of two that overlap the first
    "secret": lambda text, rows: find_secrets(text),
    "email": lambda text, rows: find_emails(text),
    "iban": find_ibans,
    "card": find_cards,
    "ip": lambda text, rows: find_ips(text),
    "phone": find_phones,
}
PII_KINDS = tuple(_FINDERS)


class PiiSpan(msgspec.Struct, frozen=True, array_like=True):
    """A place in a text, in characters, and what it is."""

    start: int
    end: int
    kind: str


def find_pii(text: str) -> list[PiiSpan]:
    """What there is in a text, in order, no two overlapping."""
    spans: list[PiiSpan] = []
    rows = number_rows(text)
    for kind, find in _FINDERS.items():
        for start, end in find(text, rows):
            if all(end <= other.start or other.end <= start for other in spans):
                spans.append(PiiSpan(start, end, kind))
    return sorted(spans, key=lambda span: span.start)


def mask_pii(text: str, spans: Iterable[PiiSpan]) -> str:
    """The text with each span replaced by its mark."""
    parts, at = [], 0
    for span in spans:
        parts += [text[at : span.start], f"<{span.kind.upper()}>"]
        at = span.end
    return "".join([*parts, text[at:]])


def apply_pii(text: str, spans: Sequence[PiiSpan], mode: PiiMode) -> tuple[str, Verdict | None]:
    """What a mode makes of a text: masked, left as it is (the spans are the tag), or a reason to drop it."""
    if not spans or mode == "tag":
        return text, None
    if mode == "mask":
        return mask_pii(text, spans), None
    counts = Counter(span.kind for span in spans)
    return text, Verdict("pii", ",".join(f"{kind}:{counts[kind]}" for kind in PII_KINDS if counts[kind]), 0)
