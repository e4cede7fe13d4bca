"""JSON objects key by key."""

from llmkit.workflows.diff.keys import KeyDiff, diff_keys, split_remarks


def test_each_kind_of_difference_is_told_with_both_values() -> None:
    a = {"same": 1, "other": 2, "gone": None, "deep": {"x": 1, "y": [1, 2]}}
    b = {"same": 1.0, "other": 3, "deep": {"x": 1, "y": [2, 1]}, "new": {}}
    assert diff_keys("f", a, b) == [
        KeyDiff(file="f", key="other", a=2, b=3, only=None),
        KeyDiff(file="f", key="gone", a=None, b=None, only="a"),
        KeyDiff(file="f", key="deep.y", a=[1, 2], b=[2, 1], only=None),
        KeyDiff(file="f", key="new", a=None, b={}, only="b"),
    ]


def test_true_is_not_one_and_null_is_not_absent() -> None:
    assert [one.key for one in diff_keys("f", {"a": True, "b": 0}, {"a": 1, "b": False})] == ["a", "b"]
    assert diff_keys("f", {"a": None}, {}) != []
    assert diff_keys("f", {"a": None}, {"a": None}) == []


def test_remarks_do_not_count() -> None:
    found = diff_keys("f", {"version": 1, "x": 1}, {"version": 2, "x": 2})
    counted, remarks = split_remarks(found, {"version"})
    assert [one.key for one in counted] == ["x"] and [one.key for one in remarks] == ["version"]
