"""What grammars ask for is what the form's own reader finds, and begins with the mark that tells it."""

from typing import get_args

import pytest

from llmkit.tokens.tools.calls import FoundCall
from llmkit.tokens.tools.forms import FormName, ToolForm
from llmkit.tokens.tools.written import ARGUMENTS, OPENS, SHAPES

TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"properties": {"k": {"type": "integer"}}}},
}


@pytest.mark.parametrize("name", get_args(FormName))
def test_calls_as_written_are_read(name: FormName) -> None:
    shape, argument = SHAPES[name], ARGUMENTS.get(name)
    inside = '{"k": 1}' if argument is None else argument.before.replace("KEY", "k") + "1" + argument.after
    call = shape.before.replace("NAME", "f") + inside + shape.after
    text = shape.begin + call + shape.end
    reader = ToolForm(name, {}).reader([TOOL])
    told = [reader.push(text), reader.flush()]
    assert [one for _, calls in told for one in calls] == [FoundCall("f", '{"k": 1}')]
    assert "".join(text for text, _ in told) == ""
    assert text.startswith(OPENS.get(name, ""))
    if shape.between is not None:
        text = shape.begin + call + shape.between + call + shape.end
        assert len(ToolForm(name, {}).reader([TOOL]).push(text)[1]) == 2
