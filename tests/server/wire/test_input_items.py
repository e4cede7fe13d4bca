"""What a response was asked, as items with ids, page by page."""

from typing import Any

import pytest

from llmkit.server.errors import ApiError
from llmkit.server.wire.input_items import as_items, check_query, page_of
from llmkit.server.wire.response_items import read_items

ITEMS = [{"id": str(number)} for number in range(25)]


def listed(**query: str) -> list[str]:
    return [one["id"] for one in page_of(ITEMS, query).data]


def test_a_text_and_a_message_are_the_same_item_and_every_item_has_an_id_of_its_own() -> None:
    told = as_items("hi", "resp_1")
    assert told == as_items([{"role": "user", "content": "hi"}], "resp_1")
    assert told[0]["type"] == "message" and told[0]["content"] == [{"type": "input_text", "text": "hi"}]
    call = {"type": "function_call", "id": "fc_7", "call_id": "c", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": "3", "status": None}
    items = as_items(
        [call, output, {"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}], "resp_1"
    )
    names = [one["id"] for one in items]
    assert names[0] == "fc_7" and len(set(names)) == 4 and names[1].startswith("fco_")
    assert items[2]["content"][0]["type"] == "output_text"


def test_an_item_that_was_listed_is_read_as_the_one_that_came() -> None:
    told: list[dict[str, Any]] = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "3"},
    ]
    assert read_items(None, as_items(told, "resp_1"))[0] == read_items(None, told)[0]


def test_pages_are_newest_first_unless_said_otherwise_and_go_on_behind_an_item() -> None:
    assert listed() == [str(number) for number in range(24, 4, -1)]
    assert listed(order="asc", limit="3") == ["0", "1", "2"]
    assert listed(order="asc", after="22", limit="3") == ["23", "24"]
    first, last = page_of(ITEMS, {"limit": "24"}), page_of(ITEMS, {"after": "1"})
    assert (first.first_id, first.last_id, first.has_more) == ("24", "1", True)
    assert (last.first_id, last.has_more) == ("0", False)
    empty = page_of(ITEMS, {"after": "0"})
    assert (empty.data, empty.first_id, empty.last_id, empty.has_more) == ([], None, None, False)


def test_items_of_servers_that_are_not_ours_need_no_id() -> None:
    page = page_of([{"id": "a"}, {}], {"order": "asc"})
    assert (page.first_id, page.last_id, page.has_more) == ("a", None, False)
    assert page_of([{}, {"id": "a"}], {"after": "a"}).data == [{}]


@pytest.mark.parametrize(
    ("name", "value"),
    [("order", "up"), ("limit", "0"), ("limit", "101"), ("limit", "-1"), ("limit", "²"), ("after", "x")],
)
def test_a_page_that_is_not_there_is_refused_by_its_parameter(name: str, value: str) -> None:
    with pytest.raises(ApiError) as caught:
        page_of(ITEMS, {name: value})
    assert (caught.value.status, caught.value.param) == (400, name)


def test_what_an_address_asks_for_beside_it_is_followed_or_refused() -> None:
    check_query({"limit": "3", "stream": "false", "include[]": "reasoning.encrypted_content"}, ("limit",))
    for query in ({"stream": "true"}, {"include": "file_search_call.results"}, {"limit": "3"}):
        with pytest.raises(ApiError) as caught:
            check_query(query, ())
        assert caught.value.param == next(iter(query))
