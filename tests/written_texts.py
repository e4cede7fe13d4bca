"""Texts as an engine writes them, and as its passes read them."""

from collections.abc import Iterable, Sequence

from llmkit.engine.blocks import Block
from llmkit.engine.completion import Completion, TextEngine, complete_all
from llmkit.engine.engine import Engine
from llmkit.engine.request import Drawn, Request
from llmkit.engine.text import Text, read_only
from llmkit.tokens.tokenizer import Tokenizer


def write(engine: Engine, asked: list[Request]) -> list[list[Drawn]]:
    """What is drawn for requests that come at once; the pool is checked after each pass."""
    texts: dict[int, list[Drawn]] = {engine.submit(request): [] for request in asked}
    while not engine.is_idle:
        for event in engine.step():
            assert event.drawn is not None
            texts[event.number].append(event.drawn)
        engine.pool.check()
    return list(texts.values())


def complete(engine: TextEngine, request: Request, tokenizer: Tokenizer | None) -> Completion:
    """One text, whole."""
    *_, last = complete_all(engine, [request], tokenizer)
    assert last.completion is not None
    return last.completion


def known(
    number: int, tokens: Sequence[int], blocks: Iterable[int] = (), *, drafts: Sequence[int] = ()
) -> Text:
    """A text with these tokens, and guesses at the next; nothing of it is drawn."""
    text = read_only(number)
    text.tokens, text.drafts = [*tokens], [*drafts]
    for index in blocks:
        text.table.append(Block(index))
    return text
