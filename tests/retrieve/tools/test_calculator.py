"""Arithmetic as Python has it, and nothing else of Python."""

import random

import pytest

from llmkit.retrieve.tools.calculator import Calculator, calculate
from llmkit.retrieve.tools.config import ToolError


def test_whole_numbers_are_exact_and_the_rest_is_pythons() -> None:
    random_ = random.Random(0)
    for _ in range(300):
        text = str(random_.randint(-99, 99))
        for _ in range(random_.randint(1, 6)):
            text = f"({text}) {random_.choice('+-*')} {random_.randint(-99, 99)}"
        assert calculate(text) == str(eval(text))
    assert calculate("7 / 2") == "3.5" and calculate("8 / 2") == "4" and calculate("7 // 2 % 2") == "1"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0.1 + 0.2", "0.3"),
        ("2^10", "1024"),
        ("-2 ** 2", "-4"),
        ("3 × 4 ÷ 6 − 1", "1"),
        ("sqrt(2) * sqrt(2)", "2"),
        ("round(2.567, 1)", "2.6"),
        ("max(1, 2, 3) - min(4, 5)", "-1"),
        ("2 ** 200", str(2**200)),
        (" pi ", "3.14159265358979"),
    ],
)
def test_what_people_write_is_read(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("1 / 0", "division by zero"),
        ("9 ** 9 ** 9", "too large"),
        ("10.0 ** 400", "too large"),
        ("2 ** 4000 * 2 ** 4000", "too large"),
        ("9 ** 9 ** -9 ** 9 ** 99", "too large"),
        ("(-8) ** 0.5", "not an arithmetic"),
        ("__import__('os').system('id')", "not an arithmetic"),
        ("().__class__", "not an arithmetic"),
        ("'a' * 10", "not an arithmetic"),
        ("[1] * 10", "not an arithmetic"),
        ("x + 1", "not an arithmetic"),
        ("(" * 400 + "1" + ")" * 400, "not an arithmetic"),
        ("1 +", "not an arithmetic"),
        ("sqrt(-1)", "not an arithmetic"),
        ("True + 1", "not an arithmetic"),
        ("1+" * 600 + "1", "more than 1,000 characters"),
        ("", "not an arithmetic"),
    ],
)
def test_what_is_no_arithmetic_or_too_large_is_an_error(expression: str, why: str) -> None:
    with pytest.raises(ToolError, match=why):
        calculate(expression)


@pytest.mark.parametrize("digits", ["10**1000", "4*10**9", "5000", "300"])
def test_to_round_to_a_power_of_ten_takes_no_time(digits: str) -> None:
    assert calculate(f"round(2**2000, -{digits})") == ("0" if digits != "300" else str(round(2**2000, -300)))
    assert calculate("round(2567, -2) + round(2.5) + round(2.34, 1)") == "2604.3"


def test_as_a_tool_it_takes_one_expression() -> None:
    tool = Calculator("calc")
    assert tool.spec.name == "calc" and tool.call({"expression": "17 * 23"}) == "391"
