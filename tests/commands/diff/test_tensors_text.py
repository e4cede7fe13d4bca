"""Tensors that differ, as text."""

from typing import Any

from llmkit.commands.diff.tensors_text import tensors_lines
from llmkit.workflows.diff.names import Prefix
from llmkit.workflows.diff.tensors import TensorDiff, TensorForm, TensorsDiff, TiedHead
from llmkit.workflows.diff.values import ValuesDiff


def form(name: str, dtype: str = "F32", *shape: int) -> TensorForm:
    return TensorForm(name=name, dtype=dtype, shape=list(shape or (4, 2)))


def changed(name: str, most: float | None, **values: Any) -> TensorDiff:
    known = {"values": 8, "differing": 2, "max_abs": most, "mean_abs": 0.25, "relative_rms": 0.125}
    return TensorDiff(a=form(name), b=form(name), differs_in=["values"], values=ValuesDiff(**known | values))


def tensors(**fields: Any) -> TensorsDiff:
    known = {"same": False, "in_both": 9, "only_a": [], "only_b": [], "prefix": None, "tied": []}
    figures = {"changed": [], "values": 72, "differing_values": 4, "max_abs": 2.0, "max_tensor": "big"}
    return TensorsDiff(**known | figures | fields)


def test_the_largest_difference_stands_first_behind_other_shapes() -> None:
    shape = TensorDiff(a=form("s"), b=form("s", "F16", 2, 4), differs_in=["shape", "dtype"], values=None)
    lines = tensors_lines(tensors(changed=[changed("small", 0.5), changed("big", 2.0), shape]), 80)
    assert lines[0] == "tensors: 3 of 9 differ (9 tensors, 72 values)"
    assert [line.split() for line in lines[2:5]] == [
        ["s", "F32", "4x2", "F16", "2x4", "-", "-", "-", "-"],
        ["big", "F32", "4x2", "=", "2", "0.25", "0.12", "25.0%"],
        ["small", "F32", "4x2", "=", "0.5", "0.25", "0.12", "25.0%"],
    ]
    assert lines[5] == "  largest  2 in big"


def test_what_is_the_same_is_one_line() -> None:
    same = {"same": True, "max_tensor": None, "max_abs": 0.0, "differing_values": 0}
    assert tensors_lines(tensors(**same), 80) == ["tensors: same (9 tensors, 72 values)"]
    assert tensors_lines(tensors(**same | {"values": None}), 80) == [
        "tensors: same (9 tensors, headers only)"
    ]


def test_prefix_tie_and_names_of_one_side_are_told() -> None:
    tie = TiedHead(name="lm_head.weight", only="b", embedding="e.weight", checked=True)
    found = tensors(
        prefix=Prefix(a="", b="model.", tensors=9), tied=[tie], only_a=[form(str(n)) for n in range(8)]
    )
    text = "\n".join(tensors_lines(found, 200))
    assert "tensors: 8 only in A, names differ by a prefix" in text
    assert "begin with nothing in A and with model. in B" in text
    assert "lm_head.weight is stored in B only and is e.weight there: the same values" in text
    assert "0 F32 4x2, 1 F32 4x2" in text and "and 2 more" in text


def test_values_that_are_not_finite_and_bytes_are_told() -> None:
    broken = changed("x", 1.0, nan_a=0, nan_b=3, infinite_a=1, infinite_b=1)
    text = "\n".join(tensors_lines(tensors(changed=[broken, changed("six", None, differing=None)]), 200))
    assert "x: 0 and 3 NaN, 1 and 1 infinite in A and B" in text
    assert "as bytes" in text


def test_of_many_tensors_the_rest_is_counted() -> None:
    lines = tensors_lines(tensors(changed=[changed(str(n), float(n)) for n in range(25)]), 80)
    assert "  and 5 more (--json has them)" in lines
