"""Objects within objects become keys with dots."""

from llmkit.formats.flattened import flattened


def test_keys_of_objects_are_told_by_the_way_to_them_in_their_order() -> None:
    values = {"a": 1, "b": {"c": None, "d": {"e": [{"f": 2}]}}, "g": {}}
    assert list(flattened(values).items()) == [("a", 1), ("b.c", None), ("b.d.e", [{"f": 2}]), ("g", {})]
