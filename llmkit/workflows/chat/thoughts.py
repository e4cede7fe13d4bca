"""Which parts of a reply are thought, as it comes: people are shown them apart. The text stays whole."""

from collections.abc import Iterator

from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.thoughts import Place, ThoughtForm, thought_form_of

_MOST_TOKENS = 64
"""Of the end of a prompt, in which a mark and blanks stand, be it spelled letter by letter."""


class ThoughtParts:
    """Cuts one text into what is thought, marks included, and what is not. All of it comes out."""

    def __init__(self, form: ThoughtForm, place: Place) -> None:
        """
        Args:
            form: how the model thinks.
            place: where the text begins.
        """
        self._form = form
        self._place = place
        self._held = ""  # the beginning, which may become the first mark
        self._tail = ""  # of the thought, in which its last mark may have begun

    def push(self, text: str) -> Iterator[tuple[str, bool]]:
        """The parts that are certain now, and whether each is thought."""
        if self._place == "before":
            self._held += text
            begun = self._held.lstrip()
            if begun != self._form.begin and self._form.begin.startswith(begun):
                return
            self._place = "within" if begun.startswith(self._form.begin) else "after"
            text, self._held = self._held, ""
        if self._place == "within":
            seen = self._tail + text
            before, mark, _ = seen.partition(self._form.end)
            length = len(before) + len(mark) - len(self._tail)
            yield text[:length], True
            self._tail = seen[1 - len(self._form.end) :]
            text = text[length:]
            self._place = "after" if mark else "within"
        if text:
            yield text, False

    def flush(self) -> Iterator[tuple[str, bool]]:
        """What is left when nothing more comes."""
        text, self._held = self._held, ""
        if text:
            yield text, False


def thought_parts(tokenizer: Tokenizer, prompt: tuple[int, ...]) -> ThoughtParts | None:
    """What cuts a text that is written after a prompt.

    None: the model thinks nothing, or between special tokens, which do not show in its texts.
    """
    form = thought_form_of(tokenizer)
    if form is None or form.shown:
        return None
    return ThoughtParts(form, form.place(tokenizer.decode(prompt[-_MOST_TOKENS:])))
