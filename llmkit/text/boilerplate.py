"""Lines that stand on every page of a site: cookie notices, copyright, log in, share this, read more."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from llmkit.text.features import Features
from llmkit.text.ratios import ratio
from llmkit.text.rule import Check, Finding, Verdict

_LINE = re.compile(
    r"""\W*(?:
    (?:copyright\b|©|\(c\)).{0,120}
    |.{0,120}\ball\ rights\ reserved\b.{0,40}
    |(?:terms|privacy|cookies?|legal|contact|about|help|faq|sitemap|home|menu|search|login|register|subscribe|share|
        tweet|print|e-?mail|comments?|reply|next|previous|back|top|more|follow\ us|advertisement|loading)
    |(?:terms\ (?:of|and)\ \w+|(?:privacy|cookie)\ (?:policy|notice|settings)|contact\ us|about\ us|site\ map)
    |(?:log|sign)[\ -]?(?:in|up|out)(?:\ .{0,40})?
    |(?:read|see|learn|show|view|load)\ (?:more|all|less)(?:\W|\ .{0,30})?
    |(?:skip|jump)\ to\ (?:\w+\ )?(?:content|navigation)
    |(?:click|tap)\ here\b.{0,60}
    |(?:share|post|tweet|pin|follow)\ (?:this|us|it|on|via)\b.{0,60}
    |(?:leave|post|add|write)\ a\ (?:comment|reply|review)\b.{0,40}
    |(?:this|our)\ (?:web)?site\ uses\ cookies\b.*
    |(?:we|by\ using\ this\ site).{0,60}\bcookies\b.{0,200}
    |(?:powered\ by|posted\ (?:by|in|on)|filed\ under|tagged(?:\ with)?|tags|categories|
        related\ (?:posts|articles))\b.{0,80}
    |subscribe\ to\ (?:our|the)\b.{0,80}
    |(?:please\ )?enable\ javascript\b.*
    |back\ to\ top|advertisements?|sponsored(?:\ content)?|all\ comments
    )\W*""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True)
class BoilerplateLines:
    """Takes boilerplate lines out, then drops a page that was mostly that; None is no limit."""

    kind: ClassVar[str] = "boilerplate"
    max_lines: float | None = 0.4
    """Largest share of lines that may go (NeMo Curator's 0.4)."""
    max_characters: int = 200
    """Longer lines are prose and stay."""
    remove: bool = True

    @property
    def checks(self) -> tuple[Check, ...]:
        """One: the share of lines."""
        return (Check(f"{self.kind}.lines", "share of boilerplate lines", None, self.max_lines),)

    def judge(self, document: Features, *, every_score: bool) -> Finding:
        """Read line by line."""
        lines = document.text.split("\n")
        kept = [line for line in lines if not self.is_boilerplate(line)]
        share = ratio(len(lines) - len(kept), len(document.filled_lines))
        check = self.checks[0]
        bound = check.broken_by(share)
        scores = {check.name: share}
        if bound is not None:
            return Finding(Verdict(check.name, share, bound), scores=scores)
        if not self.remove or len(kept) == len(lines):
            return Finding(scores=scores)
        return Finding(None, _without_gaps(kept), {check.name: len(lines) - len(kept)}, scores)

    def is_boilerplate(self, line: str) -> bool:
        """Whether a line is nothing but boilerplate."""
        return bool(line) and len(line) <= self.max_characters and _LINE.fullmatch(line) is not None


def _without_gaps(lines: Iterable[str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
