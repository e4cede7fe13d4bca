"""Parts of an answer as items of a response."""

from llmkit.server.answer import Answered, ExecutedTool, Said, ToolCall
from llmkit.server.wire.response_output import output_item, said_part

WHO = Answered("resp_1", 0, "m", None)


def test_each_part_is_an_item_of_its_kind_and_what_is_said_has_the_place_in_its_id() -> None:
    ran = ExecutedTool(0, "call_2", "sums", "{}", "391", failed=False)
    parts = [Said("I add.", is_thought=True), Said("So:"), ToolCall(0, "call_1", "f", "{}"), ran]
    items = [output_item(WHO, part, place) for place, part in enumerate(parts)]
    assert [one["type"] for one in items] == ["reasoning", "message", "function_call", "mcp_call"]
    assert [one["id"] for one in items] == ["rs_1", "msg_1_1", "fc_1", "mcp_2"]


def test_a_thought_has_its_text_as_content_and_no_summary() -> None:
    said = Said("I add.", is_thought=True)
    item = output_item(WHO, said, 0)
    assert item["content"] == [said_part(said)] == [{"type": "reasoning_text", "text": "I add."}]
    assert item["summary"] == [] and "role" not in item
