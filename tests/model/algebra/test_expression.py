"""Expressions of models: what they come to, and what is refused with its place."""

from fractions import Fraction

import pytest

from llmkit.errors import UsageError
from llmkit.model.algebra.expression import parse_expression


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("a", {"a": 1}),
        ("a + 0.5*(b - base)", {"a": 1, "b": Fraction(1, 2), "base": Fraction(-1, 2)}),
        ("(a+b)/2", {"a": Fraction(1, 2), "b": Fraction(1, 2)}),
        ("a - -b * 2e-1", {"a": 1, "b": Fraction(1, 5)}),
        ("2 * (3 - 1) * a", {"a": 4}),
        ("a - (b - (c - a))", {"a": 0, "b": -1, "c": 1}),
        ("a*2*.5/4", {"a": Fraction(1, 4)}),
        ("a - b + b", {"a": 1, "b": 0}),
        ("+a_1", {"a_1": 1}),
    ],
)
def test_an_expression_is_one_exact_weight_for_each_model(text: str, weights: dict[str, object]) -> None:
    assert parse_expression(text) == weights


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a * b", "character 3: the product of two models"),
        ("1 / a", "character 3: nothing can be divided by a model"),
        ("a / (1 - 1)", "character 3: a division by 0"),
        ("a + 1", "adds the number 1"),
        ("2 * 3", "names no model"),
        ("a + (b - c", r"character 5: this '\(' is not closed"),
        ("a b", "character 3: 'b' was not expected"),
        ("a + ", "character 5: it ends where"),
        ("a ^ 2", r"character 3: '\^' means nothing"),
        ("__import__('os')", "character 12: "),
        ("a + * b", r"character 5: '\*' where a model"),
        ("", "it ends where"),
        ("(" * 5000 + "a", "levels deep"),
        ("-" * 5000 + "a", "levels deep"),
        ("1e999999999 * a", "was not expected"),
    ],
)
def test_what_is_no_sum_of_models_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse_expression(text)
