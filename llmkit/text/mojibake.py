"""Mojibake: UTF-8 that somebody read as another encoding ("cafÃ©"), turned back by ftfy where it shows.

Of what ftfy can do only the repair of encodings is on: quotes, ligatures, full-width letters, entities and
line ends stay as their author wrote them. ftfy takes a second for a megabyte or two, so a line reaches it
only when it is beyond ASCII and holds two characters side by side that mojibake would be made of: the first
byte and the next of a UTF-8 sequence, as one of the encodings that ftfy knows shows them, or a C1 control.
Run it before `normalise`, which takes C1 controls out.
"""

import re
from collections.abc import Callable
from functools import cache

from llmkit.errors import MissingError


def repair_mojibake(text: str) -> tuple[str, int]:
    """The text with its encoding repaired, and how many lines that changed.

    Raises:
        MissingError: ftfy is not installed.
    """
    if text.isascii():
        return text, 0
    suspicious, repair = _tools()
    lines = text.split("\n")
    edits = 0
    for number, line in enumerate(lines):
        if line.isascii() or suspicious.search(line) is None:
            continue
        repaired = repair(line)
        if repaired != line:
            lines[number] = repaired
            edits += 1
    return ("\n".join(lines) if edits else text), edits


@cache
def _tools() -> tuple[re.Pattern[str], Callable[[str], str]]:
    """The gate, and the repair of one line."""
    try:
        import ftfy
        from ftfy.badness import is_bad
        from ftfy.chardata import CHARMAP_ENCODINGS
    except ImportError:
        raise MissingError(
            "repairing mojibake needs the package ftfy", hint="pip install 'llmkit[corpus]'"
        ) from None
    config = ftfy.TextFixerConfig(
        unescape_html=False,
        remove_terminal_escapes=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        remove_control_chars=False,
        normalization=None,
        explain=False,
    )

    def repair(line: str) -> str:
        return ftfy.fix_text(line, config) if is_bad(line) else line

    return _gate(CHARMAP_ENCODINGS), repair


def _gate(encodings: list[str]) -> re.Pattern[str]:
    """Finds a lead and a continuation byte of UTF-8 side by side, as any of the encodings shows them."""
    pairs = []
    for encoding in encodings:
        lead = _shown(range(0xC2, 0xF5), encoding)
        follows = _shown(range(0x80, 0xC0), encoding)
        if encoding in ("latin-1", "sloppy-windows-1252"):
            follows += " "  # 0xA0 is a space that does not break, and many programs made it one that does
        pairs.append(f"[{re.escape(lead)}][{re.escape(follows)}]")
    return re.compile("|".join([*pairs, "[\x80-\x9f]"]))


def _shown(values: range, encoding: str) -> str:
    shown = "".join(bytes([value]).decode(encoding, "ignore") for value in values)
    return "".join(character for character in shown if not character.isascii())
