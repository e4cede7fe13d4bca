"""Texts that belong between two others (fill in the middle): the tokens by which a model is told of both.

Source: Bavarian et al., Efficient Training of Language Models to Fill in the Middle, 2022; the model cards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.tokens.tokenizer import Tokenizer

_MARKS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen Coder, CodeGemma, Granite 4
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, StableCode, Granite
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),  # GLM
    ("<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>"),  # Seed-Coder
)
"""Before what precedes the gap, before what follows it, and where the text in it begins."""
_AFTER_FIRST = ("<[fim-prefix]>",)
"""Who is told first what follows."""
_ENDS = (
    *("<|fim_pad|>", "<fim_pad>", "<fim-pad>", "<|file_sep|>", "<file_sep>", "<|file_separator|>"),
    *("<|repo_name|>", "<repo_name>", "<reponame>"),
)
"""What models write where the gap is filled and another file would begin."""


@dataclass(frozen=True)
class InfillForm:
    """How one model is told of a gap."""

    before: int
    after: int
    gap: int
    ends: frozenset[int]
    """What ends the text in the gap, beside what ends any."""
    after_first: bool = False

    def ids(self, before: Sequence[int], after: Sequence[int]) -> list[int]:
        """A prompt, without what the tokenizer puts before every text.

        Args:
            before: tokens before the gap.
            after: those after it.
        """
        sides = [self.before, *before], [self.after, *after]
        first, then = reversed(sides) if self.after_first else sides
        return [*first, *then, self.gap]


def infill_form_of(tokenizer: Tokenizer) -> InfillForm | None:
    """How the model of a tokenizer is told of a gap; None: it has no tokens for that."""
    for marks in _MARKS:
        before, after, gap = (tokenizer.id_of(one) for one in marks)
        if before is not None and after is not None and gap is not None:
            ends = (tokenizer.id_of(one) for one in _ENDS)
            found = frozenset((before, after, gap, *(one for one in ends if one is not None)))
            return InfillForm(before, after, gap, found, after_first=marks[0] in _AFTER_FIRST)
    return None
