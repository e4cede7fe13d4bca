"""Ids that templates ask for are the same each time, and a result keeps the id of its call."""

from typing import Any

from llmkit.tokens.tools.call_ids import nine_letters, numbered


def test_ids_of_nine_letters_stay_and_others_get_the_same_each_time() -> None:
    assert nine_letters("aB3456789") == "aB3456789"
    assert nine_letters("call_0a1b2c3d4e5f") == nine_letters("call_0a1b2c3d4e5f") != nine_letters("call_1")
    assert len(nine_letters("")) == 9 and nine_letters("call_1").isalnum()


def test_calls_are_counted_through_a_conversation_and_results_follow_them() -> None:
    def calling(*names: str) -> dict[str, Any]:
        calls = [{"id": f"call_{name}", "function": {"name": name, "arguments": {}}} for name in names]
        return {"role": "assistant", "content": "", "tool_calls": calls}

    given = [
        calling("f", "g"),
        {"role": "tool", "content": "G", "tool_call_id": "call_g"},
        {"role": "tool", "content": "other", "tool_call_id": "unknown"},
        {"role": "user", "content": "again"},
        calling("h"),
    ]
    told = numbered(given)
    ids = [call["id"] for one in told for call in one.get("tool_calls", ())]
    assert ids == ["functions.f:0", "functions.g:1", "functions.h:2"]
    assert [one.get("tool_call_id") for one in told[1:3]] == ["functions.g:1", "unknown"]
    assert told[3] == given[3] and given[0]["tool_calls"][0]["id"] == "call_f"
