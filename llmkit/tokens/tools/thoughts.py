"""What a model thinks before it answers: the marks that stand around it, as its chat template has them.

| begins                              | ends                 | families                                    |
|-------------------------------------|----------------------|---------------------------------------------|
| `<think>`                             | `</think>`             | DeepSeek R1, Qwen3, QwQ, GLM-4.5, SmolLM3 |
| `[THINK]`                             | `[/THINK]`             | Magistral                                 |
| `<|START_THINKING|>`                  | `<|END_THINKING|>`     | Command A                                 |
| `<seed:think>`                        | `</seed:think>`        | Seed-OSS                                  |
| `<|channel|>analysis<|message|>`      | `<|end|>`              | gpt-oss                                   |
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.bodies import HARMONY_ANSWER, HARMONY_MARKS, HARMONY_SIGNS, thought_body
from llmkit.tokens.tools.calls import Body

_MARKS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<seed:think>", "</seed:think>"),
)
_HARMONY = ("<|channel|>analysis<|message|>", "<|end|>", "<|start|>assistant", HARMONY_ANSWER)

Place = Literal["before", "within", "after"]


@dataclass(frozen=True)
class ThoughtForm:
    """How one model thinks."""

    begin: str
    end: str
    then: str = ""
    """Stands between thoughts and what follows them."""
    answer: str = ""
    """Stands before an answer."""
    shown: frozenset[int] = frozenset()
    """Special tokens among the marks, which must show in a text."""

    @property
    def opens(self) -> Mapping[str, Callable[[], Body]]:
        """What begins thoughts, and what reads on from there; as `Syntax` has it."""
        return {self.begin: self.body}

    def body(self) -> Body:
        """Reads thoughts that have begun."""
        return thought_body(self.end)

    def place(self, prompt: str, prefill: str = "") -> Place:
        """Where a text goes on: before thoughts, of which there may be some; within them; or after them.

        Args:
            prompt: what stands before the text.
            prefill: of the answer, the beginning that was given; the end of the prompt.
        """
        before = prompt.removesuffix(prefill).rstrip()
        if before.endswith(self.begin) or prefill.lstrip().startswith(self.begin):
            return "after" if self.end in prefill else "within"
        return "after" if prefill.strip() or before.endswith(self.end) else "before"


def thought_form_of(tokenizer: Tokenizer) -> ThoughtForm | None:
    """How the model of a tokenizer thinks; None: its chat template knows of no thoughts."""
    template = tokenizer.for_tools.chat_template or ""
    ids = tokenizer.special_ids
    if all(sign in template for sign in HARMONY_SIGNS):
        return ThoughtForm(*_HARMONY, shown=frozenset(ids[mark] for mark in HARMONY_MARKS if mark in ids))
    for marks in _MARKS:
        if any(mark in template for mark in marks):
            return ThoughtForm(*marks, shown=frozenset(ids[mark] for mark in marks if mark in ids))
    return None
