"""Functions that a row of a batch file lets the model call; calls and thoughts in what the model wrote."""

from dataclasses import dataclass, replace
from typing import Any

from llmkit.engine.after_thoughts import after_thoughts, marks_of
from llmkit.engine.completion import Completion, TextWriter
from llmkit.engine.grammar import Rule
from llmkit.engine.request import Request
from llmkit.server.ask import ToolChoice
from llmkit.server.call_rule import call_rule
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.calls import FoundCall
from llmkit.tokens.tools.forms import ToolForm
from llmkit.tokens.tools.thoughts import ThoughtForm


@dataclass(frozen=True)
class Read:
    """What a model wrote, taken apart."""

    text: str
    """What is no call and no thought."""
    thought: str
    calls: tuple[FoundCall, ...]


@dataclass(frozen=True)
class Calls:
    """What may be called, and how this model does it. Nothing is run: who asked is told of the calls."""

    form: ToolForm
    thoughts: ThoughtForm | None
    """How the model thinks; None: it does not, or a rule could not be told where to begin."""
    tools: tuple[dict[str, Any], ...]
    choice: ToolChoice
    parallel: bool
    """Whether there may be several calls in one answer."""

    def rule(self, answer: Rule | None) -> Rule | None:
        """What a text must be; see `call_rule`."""
        return call_rule(self.form, self.tools, self.choice, parallel=self.parallel, answer=answer)

    def freed(
        self,
        request: Request,
        tokenizer: Tokenizer,
        *,
        vocab_size: int,
        budget: int | None,
        prompt: str,
        prefill: str = "",
    ) -> Request:
        """A request whose rule, if it has one, holds the answer and not the thoughts before it.

        Args:
            vocab_size: of the model.
            budget: tokens that may be thought; None: any number.
            request, tokenizer, prompt, prefill: as for `read`.
        """
        if self.thoughts is None:
            return request
        place = self.thoughts.place(prompt + prefill, prefill)
        marks = marks_of(self.thoughts, tokenizer)
        grammar = after_thoughts(request.grammar, marks, place, vocab_size=vocab_size, budget=budget)
        return replace(request, grammar=grammar)

    def read(
        self, one: Completion, request: Request, tokenizer: Tokenizer, *, prompt: str, prefill: str = ""
    ) -> Read:
        """What was written, taken apart.

        Args:
            one: what was written; its text lacks special tokens, with which calls may begin.
            request: it was written for.
            tokenizer: of the model.
            prompt: the text of the prompt.
            prefill: what the answer begins with.
        """
        shown = self.form.shown if self.tools else frozenset[int]()
        shown |= frozenset() if self.thoughts is None else self.thoughts.shown
        writer = TextWriter(0, tokenizer, request, shown=shown)
        written = "".join(writer.push(token).text for token in one.drawn)
        reader = self.form.reader(
            self.tools,
            parallel=self.parallel,
            required=self.choice.mode == "required",
            thoughts=self.thoughts,
            thinks=self.thoughts is not None and self.thoughts.place(prompt) == "within",
        )
        text, found = reader.push(prefill + written)
        rest, more = reader.flush(cut=one.finish == "length")
        return Read(text + rest, reader.take_thought(), (*found, *more))
