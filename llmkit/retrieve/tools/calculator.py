"""A calculator as a tool: numbers, + - * / // % **, brackets and a few functions; nothing else of Python."""

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

from llmkit.formats.json_text import is_number
from llmkit.retrieve.tools.config import ToolError, ToolSpec, one_text

_MOST_CHARACTERS = 1_000
_MOST_BITS = 4_096
"""Of a whole number: `9**9**9` would be computed until memory is full."""
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    **{ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv},
    **{ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod},
}


def _rounded(value: Any, digits: Any = None) -> Any:
    """Python's, but for powers of ten beyond every number here, which take it as long as they are large."""
    if digits is not None and isinstance(value, int) and operator.index(digits) < -_MOST_BITS:
        return 0
    return round(value, digits)


_SIGNS = str.maketrans({"×": "*", "÷": "/", "\N{MINUS SIGN}": "-"})
_NAMES = {"pi": math.pi, "e": math.e}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{"sqrt": math.sqrt, "exp": math.exp, "log": math.log, "log2": math.log2, "log10": math.log10},
    **{"sin": math.sin, "cos": math.cos, "tan": math.tan, "atan": math.atan, "floor": math.floor},
    **{"ceil": math.ceil, "abs": abs, "round": _rounded, "min": min, "max": max},
}


class Calculator:
    """Computes one expression a call."""

    def __init__(self, name: str = "calculator") -> None:
        self.spec = ToolSpec(
            name,
            "Computes an arithmetic expression, such as 12.5 * (3 + 4) ** 2 or sqrt(2).",
            one_text("expression", "what to compute"),
        )

    def call(self, arguments: dict[str, Any]) -> str:
        """See `Tool.call`."""
        return calculate(arguments["expression"])


def calculate(expression: str) -> str:
    """The value of an expression; one that is whole has no decimal point.

    Raises:
        ToolError: it is not arithmetic, has no value, or one that is too large.
    """
    text = expression.strip().replace("^", "**").translate(_SIGNS)
    if len(text) > _MOST_CHARACTERS:
        raise ToolError(f"an expression of more than {_MOST_CHARACTERS:,} characters")
    try:
        value = _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise ToolError(f"not an arithmetic expression: {expression[:60]!r}") from None
    except ZeroDivisionError:
        raise ToolError("division by zero") from None
    except OverflowError:
        raise ToolError("the number is too large") from None
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ToolError("the number is too large")
        if value.is_integer() and abs(value) < 2**53:
            value = int(value)
        else:
            return f"{value:.15g}"  # 0.1 + 0.2 is 0.3
    return str(value)


def _value(node: ast.AST) -> Any:
    match node:
        case ast.Constant(value=value) if is_number(value):
            return _bounded(value)
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.UnaryOp(op=ast.USub(), operand=one):
            return -_value(one)
        case ast.UnaryOp(op=ast.UAdd(), operand=one):
            return _value(one)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _bounded(_BINARY[type(op)](_value(left), _value(right)))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            return _bounded(_FUNCTIONS[name](*map(_value, args)))
    raise ValueError(ast.dump(node))


def _power(base: Any, exponent: Any) -> Any:
    is_whole = isinstance(base, int) and isinstance(exponent, int)
    if is_whole and base.bit_length() * abs(exponent) > _MOST_BITS:
        raise OverflowError
    value = base**exponent
    if isinstance(value, complex):
        raise ValueError("no real number")
    return value


def _bounded(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise OverflowError
    return value
