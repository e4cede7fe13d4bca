"""An answer with calls in it: the model writes, functions are called, it reads their results and goes on."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmkit.engine.completion import Completion, Piece, TextEngine, complete_all
from llmkit.engine.config import SamplingConfig
from llmkit.engine.grammar import Rule
from llmkit.engine.request import Request
from llmkit.retrieve.tools.loop import Message, Toolbox
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.calls import CallReader, FoundCall
from llmkit.tokens.tools.forms import form_of
from llmkit.tokens.tools.grammar import calls_grammar
from llmkit.tokens.tools.results import Disarmed
from llmkit.workflows.generate.messages import read_conversation


@dataclass(frozen=True)
class Said:
    """Some of an answer: text that is no call, and the piece that it came with."""

    text: str
    piece: Piece
    """Without a token where calls took the last of them: the text after the calls is empty."""
    calls: int = 0
    """Of the answer before it."""
    asks: bool = False
    """Whether it is the last of a text whose calls are made next."""


class ToolTalk:
    """How one model is told of functions, and how its calls are read.

    Attributes:
        toolbox: what it may call.
    """

    def __init__(
        self, toolbox: Toolbox, tokenizer: Tokenizer, encoder: PromptEncoder, *, choice: str = "auto"
    ) -> None:
        """
        Args:
            toolbox: what it may call.
            tokenizer: whose template decides.
            encoder: of the same.
            choice: `auto`; `required`: an answer begins with a call; a name: with a call of this function.
        """
        self.toolbox = toolbox
        self._tokenizer, self._encoder, self._choice = tokenizer, encoder, choice
        self._form = form_of(tokenizer, turns=encoder.tool_turns)
        self._disarmed = Disarmed(tokenizer)
        self._functions = [self._disarmed.value(one) for one in toolbox.functions]

    def encode(self, messages: Sequence[Message], **settings: Any) -> tuple[tuple[int, ...], str]:
        """The ids of a conversation that the assistant is to go on with, and its text.

        Raises:
            DataError: a message that `serve` would refuse; see also `render_chat`.
            MissingError, ConfigError: see there.
        """
        read = [
            {**one, "content": self._disarmed.text(one["content"])} if one["role"] == "tool" else one
            for one in read_conversation(messages)
        ]
        text = self._encoder.render_told(read, self._functions, **settings)
        return tuple(self._encoder.encode_rendered(text)), text

    def rule(self, sampling: SamplingConfig, done: int) -> Rule | None:
        """What the next text must be.

        Args:
            sampling: how it is drawn; the rule that it has is for the answer, not for calls.
            done: calls of this answer so far.

        Raises:
            ConfigError: a schema asks for what cannot be held to in this model's form.
        """
        functions = self.toolbox.functions
        if self._choice != "auto" and not done:
            name = None if self._choice == "required" else self._choice
            return "tools", calls_grammar(self._form, functions, name=name)
        if sampling.rule is None or done >= self.toolbox.max_calls:
            return sampling.rule
        return "tools", calls_grammar(self._form, functions, answer=sampling.rule)

    def reply(
        self,
        engine: TextEngine,
        messages: list[Message],
        request: Callable[[int, int], Request],
    ) -> Generator[Said]:
        """The pieces of an answer. It ends with a text without calls, with the first that has none left, or
        where all its texts together have the tokens of the first request: calls of a text that was cut are
        not made.

        Args:
            engine: writes; has no other text meanwhile.
            messages: the conversation. Calls and their results are put behind it; the answer's text is not.
            request: what is asked next, after so many calls and tokens.
        """
        done = drawn = most = 0
        while True:
            reader, asks = self._reader(done), request(done, drawn)
            most = most or asks.sampling.max_tokens
            text, calls = "", list[FoundCall]()
            shown = () if reader is None else self._form.shown
            for piece in complete_all(engine, [asks], self._tokenizer, shown=shown):
                new, found = _read(reader, piece)
                text += new
                calls += found
                drawn += 0 if piece.token is None else 1
                ended = piece.completion is not None and piece.completion.finish != "length"
                yield Said(new, piece, done, asks=ended and bool(calls))
            assert piece.completion is not None
            if not calls or piece.completion.finish == "length":
                return
            asked, results = self.toolbox.answer(calls, done)
            messages += [{"role": "assistant", "content": text, "tool_calls": asked}, *results]
            done += len(calls)
            if drawn >= most:
                none = Completion("", (), "length")
                yield Said("", replace(piece, text="", token=None, completion=none), done)
                return

    def _reader(self, done: int) -> CallReader | None:
        if done >= self.toolbox.max_calls:
            return None
        return self._form.reader(self.toolbox.functions, required=self._choice != "auto" and not done)


def _read(reader: CallReader | None, piece: Piece) -> tuple[str, tuple[FoundCall, ...]]:
    if reader is None:
        return piece.text, ()
    text, found = reader.push(piece.text)
    if piece.completion is not None:
        rest, more = reader.flush(cut=piece.completion.finish == "length")
        text, found = text + rest, (*found, *more)
    return text, found
