"""Text in one form: canonical composition, line ends, and characters that nobody can see.

NFC joins letters and their marks (e + ´ is é) and changes nothing that a reader could see. NFKC would: it
makes ﬁ two letters, ² a 2 and ｆ an f. Characters of control mean nothing in a text (C0 but tab and line end,
DEL, C1), nor do U+FEFF inside it, unpaired surrogates and code points that Unicode keeps for no character
(U+FFFE, U+FFFF of every plane). Joiners, soft hyphens and marks of direction stay: scripts need them.
"""

import re
import unicodedata

_LINE_ENDS = re.compile("\r\n?|\x85|\u2028|\u2029")
_NOTHING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ufeff\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr((plane << 16) | 0xFFFE)}{chr((plane << 16) | 0xFFFF)}" for plane in range(17))
    + "]"
)


def normalise(text: str) -> tuple[str, int]:
    """The text in one form, and the edits that took: characters taken out or changed, and 1 for the form.

    CR, CRLF, NEL, the separators of lines and paragraphs and a form feed become a line feed. Idempotent: what
    comes out stays as it is.
    """
    edits = 0
    if "\r" in text or not text.isascii():
        text, edits = _LINE_ENDS.subn("\n", text)
    pages = text.count("\f")
    text, count = _NOTHING.subn("", text.replace("\f", "\n") if pages else text)
    edits += count + pages
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
        edits += 1
    return text, edits
