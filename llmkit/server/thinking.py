"""What a model thinks before its answers: told apart from them, left free by rules, and bounded.

The same for requests to a server and rows of batch files: both are an Ask.
"""

from llmkit.engine.after_thoughts import after_thoughts, marks_of
from llmkit.engine.grammar import Grammar
from llmkit.server.ask import Ask
from llmkit.server.errors import refused
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.calls import CallReader
from llmkit.tokens.tools.forms import ToolForm
from llmkit.tokens.tools.thoughts import Place, ThoughtForm, thought_form_of

BUDGET = "thinking_token_budget"
"""vLLM's parameter; what it is called in errors, if an endpoint has no other name for it."""


class Thinking:
    """How one model thinks."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, *, is_told_apart: bool = True) -> None:
        """
        Args:
            tokenizer: its own, whose chat template says how it thinks.
            vocab_size: of the model.
            is_told_apart: whether what it thinks is told apart from its answer.
        """
        self._vocab_size = vocab_size
        self._is_told_apart = is_told_apart
        self._form = thought_form_of(tokenizer)
        self._marks = None if self._form is None else marks_of(self._form, tokenizer)

    def form(self, ask: Ask) -> ThoughtForm | None:
        """How it thinks before an answer: not at all where a rule could not be told where to begin."""
        if ask.kind != "chat" or not self._is_told_apart or (ask.is_held and self._marks is None):
            return None
        return self._form

    def shown(self, ask: Ask, calls: ToolForm) -> frozenset[int]:
        """Special tokens that must show in a text: in one that thoughts are left in, their marks do too.

        Args:
            ask: for the text.
            calls: how the model calls functions.
        """
        of_calls = calls.shown if ask.offered_tools else frozenset[int]()
        return of_calls if ask.kind != "chat" or self._form is None else of_calls | self._form.shown

    def reader(self, ask: Ask, calls: ToolForm, *, begun: bool) -> CallReader | None:
        """What finds the thoughts and calls of one answer; None where there can be none.

        Args:
            ask: for the answer.
            calls: how the model calls functions.
            begun: whether the text begins within thoughts.
        """
        form = self.form(ask)
        if not ask.offered_tools and form is None:
            return None
        return calls.reader(
            ask.offered_tools,
            parallel=ask.parallel_tool_calls,
            required=ask.tool_choice.mode == "required",
            thoughts=form,
            thinks=begun,
        )

    def place(self, ask: Ask, prompt: str) -> Place | None:
        """Where an answer begins; None: it has no thoughts."""
        form = self.form(ask)
        return None if form is None else form.place(prompt, ask.prefill)

    def grammar(self, answer: Grammar | None, ask: Ask, place: Place | None) -> Grammar | None:
        """Of a text with its thoughts.

        Args:
            answer: the grammar of the answer; None: it has none.
            ask: for the text.
            place: where that begins.

        Raises:
            ApiError: 400: see `check_budget`.
        """
        self.check_budget(ask)
        return after_thoughts(
            answer,
            self._marks,
            place,
            vocab_size=self._vocab_size,
            budget=ask.thinking_budget,
            headed=bool(ask.offered_tools),
        )

    def check_budget(self, ask: Ask) -> None:
        """Refuse a budget that thoughts cannot be held to.

        Raises:
            ApiError: 400: they are left in the text, or no token ends them.
        """
        if ask.thinking_budget is None or self._form is None:
            return
        if not self._is_told_apart:
            message = "is not done here, where thoughts are left in the text: leave it out"
            raise refused(BUDGET, message, code="unsupported_parameter")
        if self._marks is None:
            marks = f"{self._form.begin} and {self._form.end}"
            message = f"is for models that have {marks} as tokens: leave it out"
            raise refused(BUDGET, message, code="unsupported_parameter")
