"""RefinedWeb's line rules (2306.01116, G.2), as dclm_baseline_refinedweb.yaml of mlfoundations/dclm sets
them.

Lines that are interface and no prose go; a page that loses more than a twentieth of its words that way is
dropped. Words here are what stands between white space.
"""

import re
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from llmkit.text.features import Features
from llmkit.text.ratios import ratio
from llmkit.text.rule import Check, Finding, Verdict

_COUNTER = re.compile(
    r"\W*[0-9](?:,|\.|[0-9])*(?:K|k|M|m|B|b)?\s+(?:likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|"
    r"downvotes|downloads|views|followers)\W*"
)
_INTERFACE = re.compile(
    r"^(?:sign-in)\b[\s:|]*|\s*(?:read more\.{3})$|\s*\bitems in cart\b\s*", re.IGNORECASE
)
_MANY_BREAKS = re.compile(r"\n{3,}")


@dataclass(frozen=True, kw_only=True)
class RefinedwebLines:
    """Takes lines out, then drops a page that lost too much; None is no limit."""

    kind: ClassVar[str] = "refinedweb-lines"
    max_uppercase: float | None = 0.5
    """Largest share of capitals among the characters of a line that stays."""
    numeric: bool = True
    """Whether lines of digits and signs alone go."""
    counters: bool = True
    """Whether lines such as `3 likes` go."""
    min_words_per_line: int | None = 2
    interface_words: int = 10
    """Lines of at most so many words lose `Sign-in`, `Read more...` and `items in cart`."""
    max_removed_words: float | None = 0.05

    @property
    def checks(self) -> tuple[Check, ...]:
        """One: the share of the page that went."""
        meaning = "share of words in what was taken out"
        return (Check(f"{self.kind}.removed-words", meaning, None, self.max_removed_words),)

    def judge(self, document: Features, *, every_score: bool) -> Finding:
        """Read line by line."""
        kept: list[str] = []
        edits: Counter[str] = Counter()
        before = after = 0
        for line in document.text.split("\n"):
            words = line.split()
            before += len(words)
            if words:
                reason = self._reason(line, len(words))
                if reason is not None:
                    edits[f"{self.kind}.{reason}"] += 1
                    continue
                if len(words) <= self.interface_words:
                    shorter = _INTERFACE.sub(" ", line).strip()
                    if shorter != line.strip():
                        edits[f"{self.kind}.interface"] += 1
                        line, words = shorter, shorter.split()
                        if not words:
                            continue
            after += len(words)
            kept.append(line)
        text = _MANY_BREAKS.sub("\n\n", "\n".join(kept))
        removed = ratio(before - after, before)
        check = self.checks[0]
        bound = check.broken_by(removed)
        verdict = None if bound is None else Verdict(check.name, removed, bound)
        return Finding(
            verdict, None if verdict else text, {} if verdict else dict(edits), {check.name: removed}
        )

    def _reason(self, line: str, num_words: int) -> str | None:
        if self.numeric and not any(map(str.isalpha, line)) and any(map(str.isdigit, line)):
            return "numeric"
        if self.counters and _COUNTER.fullmatch(line.strip()):
            return "counter"
        if self.min_words_per_line is not None and num_words < self.min_words_per_line:
            return "few-words"
        if self.max_uppercase is not None and sum(map(str.isupper, line)) > self.max_uppercase * len(line):
            return "uppercase"
        return None
