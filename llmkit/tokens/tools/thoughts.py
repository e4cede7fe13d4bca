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

from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.bodies import HARMONY_MARKS, thought_body
from llmkit.tokens.tools.calls import Body

_MARKS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<seed:think>", "</seed:think>"),
)
_HARMONY = ("<|channel|>analysis<|message|>", "<|end|>")
_SIGNS = ("<|channel|>", "<|message|>")


@dataclass(frozen=True)
class ThoughtForm:
    """How one model thinks."""

    begin: str
    end: str
    shown: frozenset[int] = frozenset()
    """Special tokens among the marks, which must show in a text."""

    @property
    def opens(self) -> Mapping[str, Callable[[], Body]]:
        """What begins thoughts, and what reads on from there; as `Syntax` has it."""
        return {self.begin: self.body}

    def body(self) -> Body:
        """Reads thoughts that have begun."""
        return thought_body(self.end)

    def is_begun(self, prompt: str, prefill: str = "") -> bool:
        """Whether a text goes on with thoughts, because what stands before it ends within them.

        Args:
            prompt: what stands before the text.
            prefill: of the answer, the beginning that was given; the end of the prompt.
        """
        begun = prompt.removesuffix(prefill).rstrip().endswith(self.begin)
        return (begun or prefill.lstrip().startswith(self.begin)) and self.end not in prefill


def thought_form_of(tokenizer: Tokenizer) -> ThoughtForm | None:
    """How the model of a tokenizer thinks; None: its chat template knows of no thoughts."""
    template = tokenizer.for_tools.chat_template or ""
    ids = tokenizer.special_ids
    if all(sign in template for sign in _SIGNS):
        return ThoughtForm(*_HARMONY, frozenset(ids[mark] for mark in HARMONY_MARKS if mark in ids))
    for marks in _MARKS:
        if marks[1] in template:
            return ThoughtForm(*marks, frozenset(ids[mark] for mark in marks if mark in ids))
    return None
