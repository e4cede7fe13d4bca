"""Functions that a row of a batch file lets the model call; calls and thoughts in what the model wrote."""

from dataclasses import dataclass, replace

from llmkit.engine.completion import Completion, TextWriter
from llmkit.engine.grammar import Rule
from llmkit.engine.request import Request
from llmkit.server.ask import Ask
from llmkit.server.call_rule import call_rule
from llmkit.server.thinking import Thinking
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.calls import FoundCall
from llmkit.tokens.tools.forms import ToolForm


@dataclass(frozen=True)
class Read:
    """What a model wrote, taken apart."""

    text: str
    """What is no call and no thought."""
    thought: str
    calls: tuple[FoundCall, ...]


@dataclass(frozen=True)
class Calls:
    """What may be called, and how this model does it and thinks, as in `serve`. Nothing is run: who asked is
    told of the calls."""

    form: ToolForm
    thinking: Thinking
    ask: Ask
    """What the row asks for, but for its prompt."""

    def rule(self, answer: Rule | None) -> Rule | None:
        """What a text must be; see `call_rule`."""
        ask = self.ask
        parallel = ask.parallel_tool_calls
        return call_rule(self.form, ask.offered_tools, ask.tool_choice, parallel=parallel, answer=answer)

    def freed(self, request: Request, *, prompt: str, prefill: str = "") -> Request:
        """A request whose rule, if it has one, holds the answer and not the thoughts before it.

        Args:
            request, prompt, prefill: as for `read`.

        Raises:
            ApiError: see `Thinking.check_budget`.
        """
        ask = replace(self.ask, prefill=prefill)
        place = self.thinking.place(ask, prompt + prefill)
        return replace(request, grammar=self.thinking.grammar(request.grammar, ask, place))

    def read(
        self, one: Completion, request: Request, tokenizer: Tokenizer, *, prompt: str, prefill: str = ""
    ) -> Read:
        """What was written, taken apart.

        Args:
            one: what was written; its text lacks special tokens, with which calls may begin.
            request: it was written for.
            tokenizer: of the model.
            prompt: the text of the prompt.
            prefill: what the answer begins with; it is read with the answer.
        """
        writer = TextWriter(0, tokenizer, request, shown=self.thinking.shown(self.ask, self.form))
        written = prefill + "".join(writer.push(token).text for token in one.drawn)
        begun = self.thinking.place(self.ask, prompt) == "within"
        reader = self.thinking.reader(self.ask, self.form, begun=begun)
        if reader is None:
            return Read(written, "", ())
        text, found = reader.push(written)
        rest, more = reader.flush(cut=one.finish == "length")
        return Read(text + rest, reader.take_thought(), (*found, *more))
