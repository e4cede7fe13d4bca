"""A text as it is written: pieces of text that come with the tokens, cut at stop strings, and the whole."""

from collections.abc import Callable
from dataclasses import dataclass

from llmkit.engine.decode import Engine
from llmkit.engine.request import Drawn, FinishReason, Request
from llmkit.engine.stopping import StopStrings
from llmkit.errors import MissingError
from llmkit.tokens.stream import StreamDecoder
from llmkit.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Completion:
    """A text that is complete."""

    text: str | None
    """None where there is no tokenizer to write it with."""
    drawn: tuple[Drawn, ...]
    """Every token, that which ended the text and those of a stop string included."""
    finish: FinishReason


def complete(
    engine: Engine,
    request: Request,
    tokenizer: Tokenizer | None,
    on_text: Callable[[str], None] = lambda text: None,
) -> Completion:
    """Write one text.

    Args:
        engine: writes the tokens.
        request: what to write.
        tokenizer: turns them into text; None: there is none, and ids are all that is asked for.
        on_text: called after each token with the piece of the text that is now certain: whole characters,
            nothing of a stop string, often nothing at all.

    Raises:
        MissingError: stop strings without a tokenizer.
        UsageError, DataError: see `Engine.run`.
    """
    if tokenizer is None and request.sampling.stop:
        raise MissingError("stop strings need a tokenizer", hint="name one with -t TOKENIZER")
    writer = _Writer(tokenizer, request)
    drawn: list[Drawn] = []
    pieces: list[str] = []
    for token in engine.run(request):
        drawn.append(token)
        pieces.append(writer.push(token))
        on_text(pieces[-1])
        if writer.finish is not None:
            break
    assert writer.finish is not None  # the engine's last token has one
    return Completion(None if tokenizer is None else "".join(pieces), tuple(drawn), writer.finish)


class _Writer:
    """Text out of tokens, up to the first stop string; `finish` says why it is complete."""

    def __init__(self, tokenizer: Tokenizer | None, request: Request) -> None:
        self.finish: FinishReason | None = None
        self._decoder = None
        if tokenizer is not None:
            self._decoder = StreamDecoder(tokenizer, after=request.prompt, skip_special=True)
        self._stops = StopStrings(request.sampling.stop)

    def push(self, token: Drawn) -> str:
        """The text that is certain with this token."""
        self.finish = token.finish
        if self._decoder is None:
            return ""
        text = self._decoder.push(token.id) if token.is_text else ""
        if token.finish is not None:
            text += self._decoder.flush()
        text = self._stops.push(text)
        if self._stops.hit is not None:
            self.finish = "stop"
        elif token.finish is not None:
            text += self._stops.flush()
        return text
