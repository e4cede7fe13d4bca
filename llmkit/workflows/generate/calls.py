"""Functions that a row of a batch file lets the model call, and the calls in what the model wrote."""

from dataclasses import dataclass
from typing import Any

from llmkit.engine.completion import Completion, TextWriter
from llmkit.engine.grammar import Rule
from llmkit.engine.request import Request
from llmkit.server.ask import ToolChoice
from llmkit.server.call_rule import call_rule
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.calls import FoundCall
from llmkit.tokens.tools.forms import ToolForm


@dataclass(frozen=True)
class Calls:
    """What may be called, and how this model does it. Nothing is run: who asked is told of the calls."""

    form: ToolForm
    tools: tuple[dict[str, Any], ...]
    choice: ToolChoice
    parallel: bool
    """Whether there may be several calls in one answer."""

    def rule(self, answer: Rule | None) -> Rule | None:
        """What a text must be; see `call_rule`."""
        return call_rule(self.form, self.tools, self.choice, parallel=self.parallel, answer=answer)

    def read(
        self, one: Completion, request: Request, tokenizer: Tokenizer, prefill: str = ""
    ) -> tuple[str, tuple[FoundCall, ...]]:
        """The text that is no call, and the calls.

        Args:
            one: what was written; its text lacks special tokens, with which calls may begin.
            request: it was written for.
            tokenizer: of the model.
            prefill: what the answer begins with.
        """
        writer = TextWriter(0, tokenizer, request, shown=self.form.shown)
        written = "".join(writer.push(token).text for token in one.drawn)
        required = self.choice.mode == "required"
        reader = self.form.reader(self.tools, parallel=self.parallel, required=required)
        text, found = reader.push(prefill + written)
        rest, more = reader.flush(cut=one.finish == "length")
        return text + rest, (*found, *more)
