"""C4's rules (1910.10683, section 2.2): lines that are no prose go, and pages that have little left.

Two readings are in use, and each is a rule of its own:

    c4         datatrove: lines of 3 words, pages of 5 sentences, ' ends a line too; words counted before
               citations go. FineWeb runs it with `end_marks = false`
    c4-tfds    c4_utils.py of tensorflow_datasets: 5 words, 3 sentences, words counted after

Both go line by line and in one order, so a page is dropped for `lorem ipsum` or `{` only when the line that
has it would have stayed. Sentences are counted as sentences.py does for both; c4_utils itself asks NLTK.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from llmkit.text.features import Features
from llmkit.text.rule import Check, Finding, Verdict
from llmkit.text.sentences import count_sentences

_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
POLICY = (
    *("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"),
)
"""Phrases of legal notices."""
_PHRASES = ("{", "lorem ipsum", "javascript", *POLICY)


@dataclass(frozen=True, kw_only=True)
class C4:
    """Takes lines out, then drops a page that has too few sentences; None is no limit."""

    kind: ClassVar[str] = "c4"
    marks: ClassVar[tuple[str, ...]] = (".", "?", "!", '"', "'")
    counts_cited_words: ClassVar[bool] = True
    end_marks: bool = True
    """Whether a line must end with an end mark, and not with `...`."""
    min_words_per_line: int | None = 3
    max_word_length: int | None = 1000
    min_sentences: int | None = 5
    citations: bool = True
    """Whether `[1]`, `[edit]` and `[citation needed]` are taken out of lines."""
    javascript: bool = True
    policy: bool = True
    lorem_ipsum: bool = True
    curly_bracket: bool = True

    @property
    def checks(self) -> tuple[Check, ...]:
        """Lines taken out are counted and drop nothing."""
        listed = (
            (self.lorem_ipsum, "lorem-ipsum", "lines with lorem ipsum that would stay", None, 0),
            (self.curly_bracket, "curly-bracket", "lines with { that would stay", None, 0),
            (
                self.min_sentences is not None,
                "sentences",
                "sentences that are left",
                self.min_sentences,
                None,
            ),
        )
        return tuple(
            Check(f"{self.kind}.{name}", meaning, low, high) for on, name, meaning, low, high in listed if on
        )

    def judge(self, document: Features, *, every_score: bool) -> Finding:
        """Take lines out; stop at the first that drops the page unless `every_score`."""
        edits: dict[str, int] = {}
        scores = {check.name: 0.0 for check in self.checks}
        lines = self._shaped(document, edits)
        verdict = None
        # No line can have what the whole text has not; but a citation that went may have stood inside a word.
        if "[" in document.text or any(phrase in document.lower for phrase in _PHRASES):
            lines, verdict = self._without_phrases(lines, edits, scores, every_score)
            if verdict is not None and not every_score:
                return Finding(verdict, scores={verdict.rule: 1.0})
        if self.min_sentences is not None:
            name = f"{self.kind}.sentences"
            found = len(lines)  # a line is a sentence at least
            if every_score or found < self.min_sentences:
                found = count_sentences(lines)
            scores[name] = found
            if found < self.min_sentences and verdict is None:
                verdict = Verdict(name, found, self.min_sentences)
        if verdict is not None:
            return Finding(verdict, scores=scores)
        named = {f"{self.kind}.{name}": count for name, count in edits.items() if count}
        return Finding(None, "\n".join(lines).strip(), named, scores)

    def _shaped(self, document: Features, edits: dict[str, int]) -> list[str]:
        """The lines that stay by their shape, without citations: one reason after another."""
        lines = [line.strip() for line in document.lines]
        most, least, before = self.max_word_length, self.min_words_per_line, len(lines)
        if most is not None and len(max(lines, key=len, default="")) > most:
            lines = [line for line in lines if len(line) <= most or max(map(len, line.split())) <= most]
            edits["long-word"] = before - len(lines)
        if self.citations and "[" in document.text:
            cited = [(_CITATION.sub("", line), line) for line in lines]
        else:
            cited = [(line, line) for line in lines] if self.end_marks else []
            if not self.end_marks:  # the common case, kept quick
                before = len(lines)
                if least is not None:
                    lines = [line for line in lines if len(line.split(None, least)) >= least]
                edits["few-words"] = before - len(lines)
                return lines
        before = len(cited)
        if self.end_marks:
            cited = [
                (line, whole) for line, whole in cited if line.endswith(self.marks) and line[-3:] != "..."
            ]
        edits["no-end-mark"] = before - len(cited)
        before = len(cited)
        if least is not None:
            place = 1 if self.counts_cited_words else 0
            cited = [pair for pair in cited if len(pair[place].split(None, least)) >= least]
        edits["few-words"] = before - len(cited)
        edits["citations"] = sum(line != whole for line, whole in cited)
        return [line for line, _ in cited]

    def _without_phrases(
        self, lines: list[str], edits: dict[str, int], scores: dict[str, float], every_score: bool
    ) -> tuple[list[str], Verdict | None]:
        kept: list[str] = []
        verdict = None
        for line in lines:
            reason = self._phrase_in(line)
            if reason is None:
                kept.append(line)
            elif reason in ("lorem-ipsum", "curly-bracket"):
                name = f"{self.kind}.{reason}"
                scores[name] += 1
                verdict = verdict or Verdict(name, 1.0, 0)
                if not every_score:
                    break
            else:
                edits[reason] = edits.get(reason, 0) + 1
        return kept, verdict

    def _phrase_in(self, line: str) -> str | None:
        lower = line.lower()
        if self.lorem_ipsum and "lorem ipsum" in lower:
            return "lorem-ipsum"
        if self.javascript and "javascript" in lower:
            return "javascript"
        if self.curly_bracket and "{" in line:
            return "curly-bracket"
        if self.policy and any(phrase in lower for phrase in POLICY):
            return "policy"
        return None


@dataclass(frozen=True, kw_only=True)
class C4Tfds(C4):
    """C4 as tensorflow_datasets builds it."""

    kind: ClassVar[str] = "c4-tfds"
    marks: ClassVar[tuple[str, ...]] = (".", "?", "!", '"')
    counts_cited_words: ClassVar[bool] = False
    min_words_per_line: int | None = 5
    min_sentences: int | None = 3
