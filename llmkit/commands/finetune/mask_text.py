"""An example as --show-mask prints it: what is learnt in colour, or between brackets."""

from llmkit.formats.amount_text import plural
from llmkit.workflows.finetune.samples import Sample
from llmkit.workflows.tokenize.view import visible_text

LEARNT, RESET = "\x1b[30;48;5;157m", "\x1b[0m"
OPEN, CLOSE = "⟦", "⟧"
"""Brackets that hardly any text holds."""


def mask_text(sample: Sample, *, color: bool) -> str:
    """A heading, and the text below it; a line feed is shown as ↵, what is not printable as its escape."""
    name = f" ({sample.name})" if sample.name else ""
    faults = f"; {', '.join(sample.faults)}" if sample.faults else ""
    share = f"{sample.learnt_tokens:,} of {plural(sample.tokens, 'token')} learnt"
    parts = [_shown(visible_text(text), is_learnt, color) for text, is_learnt in sample.parts]
    return f"{sample.where}{name}: {share}{faults}\n{''.join(parts).rstrip()}\n"


def _shown(text: str, is_learnt: bool, color: bool) -> str:
    """A part of the text. The colour ends before a line does, or it would run to the edge."""
    if not is_learnt:
        return text
    if not color:
        return f"{OPEN}{text}{CLOSE}"
    return "\n".join(f"{LEARNT}{line}{RESET}" if line else "" for line in text.split("\n"))
