"""A text, pushed through a reading of a call."""

from llmkit.tokens.tools.calls import Body
from llmkit.tokens.tools.reading import Reading


def read_through(reading: Reading | Body, text: str) -> tuple[object, str]:
    """What a reading returns, and what it left of the text."""
    next(reading)
    for place, char in enumerate(text):
        try:
            reading.send(char)
        except StopIteration as done:
            return done.value, text[place + 1 :]
    raise AssertionError("it wants more")
