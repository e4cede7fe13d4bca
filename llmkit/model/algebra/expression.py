"""Arithmetic on models as people write it, `a + 0.5*(b - base)`, read as one weight for each model. No torch.

    sum     = product (("+" | "-") product)*
    product = factor (("*" | "/") factor)*
    factor  = number | name | "(" sum ")" | ("+" | "-") factor

Only sums of models times numbers are models: a product of two is refused, and so is a number by itself.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from llmkit.errors import UsageError

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)|(?P<name>[A-Za-z_]\w*)|(?P<sign>[-+*/()]))"
)
"""An exponent of more digits would be computed exactly, for ever."""
_EXAMPLE = "write it such as 'a + 0.5*(b - base)', with a=PATH b=PATH base=PATH"
_MOST_DEPTH = 100


@dataclass
class _Form:
    """number + Σ weight · model."""

    number: Fraction = Fraction(0)
    weights: dict[str, Fraction] = field(default_factory=dict)

    def times(self, factor: Fraction) -> "_Form":
        return _Form(self.number * factor, {name: one * factor for name, one in self.weights.items()})

    def plus(self, other: "_Form") -> "_Form":
        weights = dict(self.weights)
        for name, one in other.weights.items():
            weights[name] = weights.get(name, Fraction(0)) + one
        return _Form(self.number + other.number, weights)


def parse_expression(text: str) -> Mapping[str, Fraction]:
    """The weight of each model of an expression, exactly, in the order they are named; some may be 0.

    Raises:
        UsageError: it is no sum of models, told with the place where reading stopped.
    """
    form = _Reader(text).whole()
    if not form.weights:
        raise UsageError(f"--expr {text!r} names no model", hint=_EXAMPLE)
    if form.number:
        raise UsageError(f"--expr {text!r} adds the number {float(form.number):g} to models", hint=_EXAMPLE)
    return form.weights


class _Reader:
    """Reads by recursive descent."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words: list[tuple[str, str, int]] = []
        self._depth = 0
        at, end = 0, len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                at += len(text[at:]) - len(text[at:].lstrip())
                raise self._wrong(at, f"{text[at]!r} means nothing here")
            kind = str(match.lastgroup)
            self._words.append((kind, match[kind], match.start(kind)))
            at = match.end()
        self._next = 0

    def whole(self) -> _Form:
        form = self._sum()
        if self._next < len(self._words):
            raise self._wrong(self._at(), f"{self._words[self._next][1]!r} was not expected")
        return form

    def _sum(self) -> _Form:
        form = self._product()
        while (sign := self._take("+-")) is not None:
            form = form.plus(self._product().times(Fraction(1 if sign == "+" else -1)))
        return form

    def _product(self) -> _Form:
        form = self._factor()
        while True:
            at = self._at()
            sign = self._take("*/")
            if sign is None:
                return form
            other = self._factor()
            if sign == "/":
                if other.weights:
                    raise self._wrong(at, "nothing can be divided by a model")
                if not other.number:
                    raise self._wrong(at, "a division by 0")
                form = form.times(1 / other.number)
            elif form.weights and other.weights:
                raise self._wrong(at, "the product of two models is no model")
            else:
                form = other.times(form.number) if other.weights else form.times(other.number)

    def _factor(self) -> _Form:
        if self._next == len(self._words):
            raise self._wrong(len(self._text), "it ends where a model or a number was expected")
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise self._wrong(self._at(), f"more than {_MOST_DEPTH} levels deep")
        form = self._value()
        self._depth -= 1
        return form

    def _value(self) -> _Form:
        kind, word, at = self._words[self._next]
        self._next += 1
        if kind == "number":
            return _Form(Fraction(word))
        if kind == "name":
            return _Form(weights={word: Fraction(1)})
        if word in "+-":
            return self._factor().times(Fraction(1 if word == "+" else -1))
        if word == "(":
            form = self._sum()
            if self._take(")") is None:
                raise self._wrong(at, "this '(' is not closed")
            return form
        raise self._wrong(at, f"{word!r} where a model or a number was expected")

    def _take(self, signs: str) -> str | None:
        if self._next < len(self._words) and self._words[self._next][1] in tuple(signs):
            self._next += 1
            return self._words[self._next - 1][1]
        return None

    def _at(self) -> int:
        return self._words[self._next][2] if self._next < len(self._words) else len(self._text)

    def _wrong(self, at: int, what: str) -> UsageError:
        return UsageError(f"--expr {self._text!r}, character {at + 1}: {what}", hint=_EXAMPLE)
