"""Marks on what a model was not sure of: the pieces of a text whose token it gave a low probability."""

import math

from llmkit.engine.request import Drawn

MARK, RESET = "\x1b[33m", "\x1b[0m"


def marked(text: str, token: Drawn | None, below: float) -> str:
    """A piece of a text, in colour where the model gave its token a lower probability than `below`.

    Of a character that several tokens make, the last token counts. The colour ends before a line does.
    """
    if token is None or token.score is None or math.exp(token.score.logprob) >= below:
        return text
    return "\n".join(f"{MARK}{line}{RESET}" if line else "" for line in text.split("\n"))
