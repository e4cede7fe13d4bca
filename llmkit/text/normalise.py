"""Text in one form: canonical composition, line ends, and characters that nobody can see.

NFC joins letters and their marks (e + ´ is é) and changes nothing that a reader could see. NFKC would: it
makes ﬁ two letters, ² a 2 and ｆ an f, so it is a choice and no default. Characters of control mean nothing
in a text (C0 but tab and line end, DEL, C1), nor do U+FEFF inside it, unpaired surrogates and code points
that Unicode keeps for no character (U+FFFE, U+FFFF of every plane). Joiners, soft hyphens and marks of
direction stay: scripts need them.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from llmkit.text.rule import Verdict

Form = Literal["NFC", "NFKC", "none"]
REPLACEMENT = "\ufffd"
MOST_REPLACEMENTS = 0.001
"""Share of characters that may be U+FFFD: one in a thousand is two or three a page."""
_LINE_ENDS = re.compile("\r\n?|\x85|\u2028|\u2029")
_NOTHING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ufeff\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr((plane << 16) | 0xFFFE)}{chr((plane << 16) | 0xFFFF)}" for plane in range(17))
    + "]"
)


@dataclass(frozen=True, kw_only=True)
class NormaliseConfig:
    """What is made alike."""

    form: Form = "NFC"
    line_ends: bool = True
    """CR, CRLF, NEL and the separators of lines and paragraphs become a line feed."""
    controls: bool = True
    """Characters of control, and what is no character, are taken out; a form feed becomes a line feed."""


def normalise(text: str, config: NormaliseConfig = NormaliseConfig()) -> tuple[str, int]:
    """The text in one form, and the edits that took: characters taken out or changed, and 1 for the form.

    Idempotent: what comes out stays as it is.
    """
    edits = 0
    if config.line_ends and ("\r" in text or not text.isascii()):
        text, count = _LINE_ENDS.subn("\n", text)
        edits += count
    if config.controls:
        pages = text.count("\f")
        text, count = _NOTHING.subn("", text.replace("\f", "\n") if pages else text)
        edits += count + pages
    if config.form != "none" and not unicodedata.is_normalized(config.form, text):
        text = unicodedata.normalize(config.form, text)
        edits += 1
    return text, edits


def replacement_rate(text: str) -> float:
    """The share of characters that are U+FFFD: what was lost before the text came here."""
    return text.count(REPLACEMENT) / len(text) if text else 0.0


def judge_replacements(text: str, most: float = MOST_REPLACEMENTS) -> Verdict | None:
    """Whether too much of a text was lost in decoding."""
    if text.isascii():
        return None
    rate = replacement_rate(text)
    return Verdict("replacement characters", round(rate, 6), most) if rate > most else None
