"""Insides of calls; the forms of all families are tested whole in test_tool_forms.py."""

import json

from llmkit.tokens.tools.bodies import xml_body
from tests.tokens.read_through import read_through


def test_values_in_marks_are_texts_where_the_schema_says_so() -> None:
    properties = {"t": {"type": "string"}, "n": {"type": "integer"}, "l": {"type": "array"}}
    told = (
        "<parameter=t>\n12\n</parameter>\n<parameter=n>\n12\n</parameter>\n<parameter=l>[1, 2]</parameter>"
        "<parameter=u>\nfree text\n</parameter><parameter=e>\n</parameter></function>"
    )
    body = xml_body({"f": {"properties": properties}}, opened=True)
    found, left = read_through(body, "f>\n" + told)
    assert isinstance(found, tuple) and left == ""
    assert json.loads(found[0].arguments) == {"t": "12", "n": 12, "l": [1, 2], "u": "free text", "e": ""}
