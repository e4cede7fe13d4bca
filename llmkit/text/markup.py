"""What an extractor left of a page's code: tags, entities, fences that stay open, lines of JSON, CSS and
JavaScript.

No peer has such a rule; the bounds are set on text that was extracted well and on pages that were not.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from llmkit.text.features import Features
from llmkit.text.ratios import ratio
from llmkit.text.rule import MeasuredRule, Measurement

_TAG = re.compile(
    r"</?[a-zA-Z][a-zA-Z0-9-]*(?:\s[^<>\n]{0,300})?/?>|<!--|-->|<!DOCTYPE|<!\[CDATA\[", re.IGNORECASE
)
_ENTITY = re.compile(r"&(?:[a-zA-Z][a-zA-Z0-9]{1,30}|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
_CODE_LINE = re.compile(
    r"""\s*(?:
    [{}\[\]()]+[;,]?                                        # brackets alone
    |"[^"\n]*"\s*:\s*\S.*                                   # JSON member
    |[\w.\#:\-,>*\s\[\]="()]+\{                             # CSS selector, or the head of a block
    |-{0,2}[a-z-]+\s*:\s*[^;{}\n]+;                         # CSS declaration
    |(?:var|let|const|function|return|import|export|if|else|for|while|try|catch|switch)\b.*[;{}(]
    |[\w$.\[\]"']+\s*[-+*/|&]?=\s*.*;                       # assignment
    |[\w$.]+\(.*\)\s*[;{]                                   # call
    |//.*|/\*.*|\*/
    |@(?:media|import|font-face|keyframes|charset)\b.*
    )\s*""",
    re.VERBOSE,
)

_LONGEST_LINE = 500  # of what a person wrote; a longer one is not looked at


@dataclass(frozen=True, kw_only=True)
class Markup(MeasuredRule):
    """Drops a text with markup left in it; None is no limit."""

    kind: ClassVar[str] = "markup"
    max_tags: float | None = 2.0
    """For each 1,000 characters."""
    max_entities: float | None = 2.0
    """For each 1,000 characters."""
    max_open_fences: float | None = 0
    max_code_lines: float | None = 0.2

    def measurements(self) -> tuple[Measurement, ...]:
        """The cheap ones first."""
        return (
            Measurement(
                self.named("tags", "tags for each 1,000 characters", high=self.max_tags), _tags, _no_tags
            ),
            Measurement(
                self.named("entities", "entities for each 1,000 characters", high=self.max_entities),
                _entities,
                _no_entities,
            ),
            Measurement(
                self.named("open-fences", "code fences that stay open", high=self.max_open_fences),
                open_fences,
            ),
            Measurement(
                self.named("code-lines", "share of lines of JSON, CSS, JavaScript", high=self.max_code_lines),
                _code_lines,
            ),
        )


def _tags(document: Features) -> float:
    return ratio(1000 * len(_TAG.findall(document.text)), len(document.text))


def _no_tags(document: Features) -> bool:
    return "<" not in document.text and "-->" not in document.text


def _entities(document: Features) -> float:
    return ratio(1000 * len(_ENTITY.findall(document.text)), len(document.text))


def _no_entities(document: Features) -> bool:
    return "&" not in document.text


def open_fences(document: Features) -> float:
    """1 where a fence of ``` or ~~~ is never closed, by CommonMark's rules; 0 otherwise."""
    fence = ""
    for mark, rest in _FENCE.findall(document.text):
        if not fence:
            if mark[0] != "`" or "`" not in rest:
                fence = mark
        elif mark[0] == fence[0] and len(mark) >= len(fence) and not rest.strip():
            fence = ""
    return float(bool(fence))


def _code_lines(document: Features) -> float:
    lines = document.filled_lines
    found = (len(line) <= _LONGEST_LINE and _CODE_LINE.fullmatch(line) is not None for line in lines)
    return ratio(sum(found), len(lines))
