"""Text in parts of a few thousand characters: what training reads, samples and forgets.

A part ends between a letter and a space or line feed. There every pattern of `patterns.py` cuts anyway
(`cuts.py` says why), so that the words are those of the whole text. Where there is no such place a part ends
all the same, and no run without white space is longer than a thousand characters: text that no pattern cuts,
such as a long line of letters, would otherwise be one word, and cost memory and time beyond its use.
"""

import re
from collections.abc import Iterable, Iterator

PART_CHARS = 1 << 12  # small: `tokenizers` takes 256 parts at a time, and Ctrl-C waits for them
LONGEST_PART = 2 * PART_CHARS
LONGEST_RUN = 1024

_CUT = re.compile(r"[^\W\d_](?=[ \n])")  # a letter (checked again below) before a space or line feed
_SPACES = re.compile(rf"\s{{{LONGEST_RUN + 1}}}")
_RUN = re.compile(rf"(?<!\S)\S{{{LONGEST_RUN + 1},}}|(?<!\s)\s{{{LONGEST_RUN + 1},}}")


def cut_parts(blocks: Iterable[str]) -> Iterator[str]:
    """The parts of a text that comes in blocks. They depend on the text alone, not on where blocks end."""
    rest = ""
    for block in blocks:
        rest += block
        start = 0
        while len(rest) - start > LONGEST_PART:
            stop = _end(rest, start) or start + LONGEST_PART
            yield from _without_long_runs(rest[start:stop])
            start = stop
        rest = rest[start:]
    while len(rest) > PART_CHARS and (end := _end(rest, 0)) is not None:
        yield from _without_long_runs(rest[:end])
        rest = rest[end:]
    if rest:
        yield from _without_long_runs(rest)


def _end(text: str, start: int) -> int | None:
    """Where the part that begins at `start` can end unnoticed, or None."""
    for match in _CUT.finditer(text, start + PART_CHARS - 1, start + LONGEST_PART):
        if text[match.start()].isalpha():
            return match.end()
    return None


def _without_long_runs(part: str) -> Iterator[str]:
    """The part, cut wherever a run of white space or of anything else gets too long."""
    if len(max(part.split(), key=len, default="")) <= LONGEST_RUN and not _SPACES.search(part):
        yield part
        return
    start = 0
    for run in _RUN.finditer(part):
        for end in range(run.start() + LONGEST_RUN, run.end(), LONGEST_RUN):
            yield part[start:end]
            start = end
    yield part[start:]
