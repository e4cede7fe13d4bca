"""Texts that belong between two others (fill in the middle): the tokens by which a model is told of both.

Source: Bavarian et al., Efficient Training of Language Models to Fill in the Middle, 2022; the model cards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmkit.formats.token_documents import TokenIds
from llmkit.tokens.tokenizer import Tokenizer

_MARKS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen Coder, CodeGemma, Granite 4
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, StableCode, Granite
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),  # GLM
    ("<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>"),  # Seed-Coder
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),  # Code Llama
    ("[PREFIX]", "[SUFFIX]", ""),  # Codestral
)
"""Before what precedes the gap, before what follows it, and where the text in it begins, which some
have no mark for."""
GAP_MARKS = ("prefix", "suffix", "middle")
"""The same where they are named: prefix_token, … in Code Llama's config, fim_pre_token_id, … in GGUF."""
_AFTER_FIRST = ("<[fim-prefix]>", "[PREFIX]")
"""Who is told first what follows."""
_REPO = ("<|repo_name|>", "<repo_name>", "<reponame>")
"""Before the name of a project, whose files follow."""
_FILE = ("<|file_sep|>", "<file_sep>", "<|file_separator|>")
"""Before the name of a file, whose text follows."""
_ENDS = (
    *("<|fim_pad|>", "<fim_pad>", "<fim-pad>", "<|file_sep|>", "<file_sep>", "<|file_separator|>"),
    *("<|repo_name|>", "<repo_name>", "<reponame>", "▁<EOT>", "[MIDDLE]"),
)
"""What models write where the gap is filled and another file would begin."""
_END = "▁<EOT>"
"""What Code Llama's text in a gap ends with, where others' ends as every text does."""


@dataclass(frozen=True)
class InfillForm:
    """How one model is told of a gap."""

    before: int
    after: int
    gap: int | None
    ends: frozenset[int]
    """What ends the text in the gap, beside what ends any."""
    after_first: bool = False
    end: int | None = None
    """A token of its own that ends the text in the gap; None: it ends as every text does."""
    repo: int | None = None
    """Before the name of a project."""
    file: int | None = None
    """Before the name of a file; None: the model knows of one file alone."""

    @property
    def marks(self) -> tuple[int, ...]:
        """All that tell of a gap, and stand for no text."""
        return tuple(one for one in (self.before, self.after, self.gap, self.end) if one is not None)

    def ids(self, before: Sequence[int], after: Sequence[int]) -> list[int]:
        """A prompt, without what the tokenizer puts before every text.

        Args:
            before: tokens before the gap.
            after: those after it.
        """
        sides = [self.before, *before], [self.after, *after]
        first, then = reversed(sides) if self.after_first else sides
        return [*first, *then, *([] if self.gap is None else [self.gap])]

    def whole(self, before: TokenIds, middle: TokenIds, after: TokenIds, *, spm: bool) -> TokenIds:
        """A text to learn from: its prompt, and what belongs in the gap.

        Args:
            before: tokens before the gap.
            middle: those in it.
            after: those after it.
            spm: what follows comes first, and what precedes the gap goes on into it (Bavarian's second
                variant, as StarCoder has it). A model that is always told so has one form only.
        """
        if spm and not self.after_first and self.gap is not None:
            return np.concatenate([_ids(self.before, self.after), after, _ids(self.gap), before, middle])
        return np.concatenate([np.array(self.ids(before.tolist(), after.tolist()), np.uint32), middle])


def infill_form_of(tokenizer: Tokenizer) -> InfillForm | None:
    """How the model of a tokenizer is told of a gap; None: it has no tokens for that."""
    for marks in (_named(tokenizer), *_MARKS):
        before, after, gap = (tokenizer.id_of(one) for one in marks)
        if before is not None and after is not None and (gap is not None or not marks[2]):
            ends = (before, after, gap, *map(tokenizer.id_of, _ENDS))
            found = frozenset(one for one in ends if one is not None)
            first, end = marks[0] in _AFTER_FIRST, tokenizer.id_of(_END)
            repo, file = (_first(tokenizer, names) for names in (_REPO, _FILE))
            return InfillForm(before, after, gap, found, first, end, repo, file)
    return None


def _named(tokenizer: Tokenizer) -> tuple[str, ...]:
    """The marks that the config names."""
    ids = map(tokenizer.named_id, GAP_MARKS)
    return tuple("" if one is None else tokenizer.token_text(one) for one in ids)


def _first(tokenizer: Tokenizer, names: Sequence[str]) -> int | None:
    """The first of some tokens that there is."""
    return next((one for one in map(tokenizer.id_of, names) if one is not None), None)


def _ids(*ids: int) -> TokenIds:
    return np.array(ids, np.uint32)
