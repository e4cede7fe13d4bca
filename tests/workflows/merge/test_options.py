"""What goes together on a merge's command line, and what is refused with the flag that fixes it."""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import UsageError
from llmkit.workflows.merge.options import MergeConfig
from llmkit.workflows.scaled_path import ScaledPath

A = (ScaledPath(Path("x")),)
BASE = Path("base")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "nothing says how to merge"),
        ({"adapters": A, "method": "linear"}, "--adapter and --method: one job"),
        ({"adapters": A, "models": ("a", "b")}, "--adapter goes with one model"),
        ({"method": "linear", "models": ("a",)}, "linear takes two models"),
        ({"method": "slerp", "models": ("a", "b", "c")}, "slerp takes two"),
        ({"method": "slerp", "weights": (0.5, 0.5)}, "slerp has one --weight"),
        ({"method": "ties"}, "differences from a common ancestor"),
        ({"method": "linear", "base": BASE}, "--base does nothing here: --method linear"),
        ({"method": "task", "base": BASE, "densities": (0.5,)}, "--density does nothing"),
        ({"method": "ties", "base": BASE, "densities": (0.0,)}, "--density is a share"),
        ({"method": "ties", "base": BASE, "weights": (1.0,) * 3}, "3 times --weight, for 2"),
        ({"method": "linear", "weights": (1.0,)}, "1 times --weight, for 2"),
        *(
            ({"method": method, "base": base, "weights": (1.0, -1.0), "normalize": True}, "add up to 0")
            for method, base in (("linear", None), ("task", BASE), ("dare", BASE))
        ),
        ({"method": "linear", "weights": (1.0, -1.0)}, "add up to 0"),
        ({"method": "ties", "base": BASE, "seed": 3}, "--seed does nothing"),
        ({"method": "linear", "into": "dequantised"}, "--into does nothing"),
        ({"method": "linear", "rank": 3}, "--rank does nothing"),
        ({"method": "linear", "check": True}, "--check does nothing"),
        ({"method": "slerp", "normalize": True}, "--normalize does nothing"),
        ({"method": "slerp", "scale": 2.0}, "--scale does nothing"),
        ({"method": "model-stock"}, "differences from a common ancestor"),
        ({"method": "model-stock", "base": BASE, "models": ("a",)}, "model-stock takes two models"),
        ({"method": "model-stock", "base": BASE, "weights": (1.0,)}, "--weight does nothing"),
        ({"method": "model-stock", "base": BASE, "normalize": True}, "--normalize does nothing"),
        ({"method": "model-stock", "base": BASE, "scale": 0.5}, "--scale does nothing"),
        ({"method": "linear", "tolerance": 0.1}, "--tolerance without --check"),
        ({"method": "linear", "tokenizer": BASE, "carry_tokenizer": False}, "-t and --no-tokenizer"),
        ({"extract": True}, "--extract needs a rank"),
        ({"extract": True, "rank": 4, "models": ("a",)}, "--extract takes BASE and TUNED"),
        ({"extract": True, "energy": 1.5}, "--energy is a share"),
        ({"extract": True, "rank": 4, "check": True}, "needs --tolerance"),
        ({"extract": True, "rank": 4, "tokenizer": BASE}, "-t does nothing"),
        ({"expression": "a + b"}, "with --expr, models have names"),
        ({"expression": "a + b", "models": ("a=x", "a=y")}, "a= is given twice"),
        ({"expression": "a + bass", "models": ("a=x", "base=y")}, "names bass"),
        ({"expression": "a", "models": ("a=x", "b=y")}, "does not use it"),
        ({"expression": "a*b", "models": ("a=x", "b=y")}, "product of two"),
        (
            {"expression": "a + 1e400*b", "models": ("a=x", "b=y")},
            "--expr: a number that float32 does not",
        ),
        ({"method": "task", "base": BASE, "scale": 1e39}, "--scale: a number that float32 does not hold"),
        ({"method": "linear", "weights": (math.nan, 1.0)}, "--weight: a number that float32 does not hold"),
        ({"adapters": (ScaledPath(BASE, -1e39),), "models": ("a",)}, "--adapter: a number that"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        MergeConfig(**{"models": ("a", "b"), **options})


def test_weights_and_densities_are_one_for_each_model() -> None:
    ties = MergeConfig(models=("a", "b", "c"), method="ties", base=BASE, densities=(0.2,))
    assert (ties.all_weights, ties.all_densities, ties.divides) == ((1, 1, 1), (0.2, 0.2, 0.2), True)
    mean = MergeConfig(models=("a", "b", "c", "d"), method="linear")
    assert (mean.all_weights, mean.all_densities, mean.divides) == ((0.25,) * 4, (), True)
    task = MergeConfig(models=("a",), method="task", base=BASE, normalize=True)
    assert (task.all_weights, task.divides) == ((1,), True)


@pytest.mark.parametrize(
    ("method", "normalize"), [("task", False), ("dare", None), ("ties", True), ("dare-ties", True)]
)
def test_weights_may_add_up_to_0_where_their_sum_divides_nothing(method: Any, normalize: bool | None) -> None:
    MergeConfig(models=("a", "b"), method=method, base=BASE, weights=(1.0, -1.0), normalize=normalize)


def test_an_expression_gives_each_name_a_weight() -> None:
    config = MergeConfig(models=("a=x", "base=y"), expression="base + (a - base)/3")
    assert config.coefficients() == {"base": Fraction(2, 3), "a": Fraction(1, 3)}
    assert config.paths == {"a": Path("x"), "base": Path("y")}
