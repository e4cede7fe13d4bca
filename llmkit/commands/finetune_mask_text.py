"""An example as --show-mask prints it: what is learnt in colour, or between brackets."""

from llmkit.workflows.finetune_samples import Sample

LEARNT, RESET = "\x1b[30;48;5;157m", "\x1b[0m"
OPEN, CLOSE = "⟦", "⟧"
"""Brackets that hardly any text holds."""


def mask_text(sample: Sample, *, color: bool) -> str:
    """A heading, and the text below it; a line feed is shown as ↵, what is not printable as its escape."""
    name = f" ({sample.name})" if sample.name else ""
    faults = f"; {', '.join(sample.faults)}" if sample.faults else ""
    share = f"{sample.learnt_tokens:,} of {sample.tokens:,} tokens learnt"
    parts = [_shown(_visible(text), is_learnt, color) for text, is_learnt in sample.parts]
    return f"{sample.where}{name}: {share}{faults}\n{''.join(parts).rstrip()}\n"


def _shown(text: str, is_learnt: bool, color: bool) -> str:
    """A part of the text. The colour ends before a line does, or it would run to the edge."""
    if not is_learnt:
        return text
    if not color:
        return f"{OPEN}{text}{CLOSE}"
    return "\n".join(f"{LEARNT}{line}{RESET}" if line else "" for line in text.split("\n"))


def _visible(text: str) -> str:
    """No escape of the text's own reaches the terminal."""
    return "".join(
        "↵\n" if letter == "\n" else letter if letter.isprintable() else ascii(letter)[1:-1]
        for letter in text
    )
