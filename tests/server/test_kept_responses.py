"""Responses are kept for their key, for a while, in room of its own."""

from typing import Any

import pytest

from llmkit.server.errors import ApiError
from llmkit.server.front import MOST_BODY_BYTES
from llmkit.server.kept_responses import KeptResponses


def response(name: str, text: str = "") -> dict[str, Any]:
    return {"id": name, "output": [{"id": f"out-{name}", "text": text}]}


def asked(name: str) -> list[dict[str, Any]]:
    return [{"id": f"in-{name}"}]


def conversation(kept: KeptResponses, tenant: str = "alice", **previous: str | None) -> KeptResponses:
    """Responses by their names, each with the one that it goes on from."""
    for name, before in previous.items():
        kept.keep(tenant, response(name), asked(name), before)
    return kept


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in items]


def refusal(*told: Any) -> ApiError:
    work, *given = told
    with pytest.raises(ApiError) as caught:
        work(*given)
    return caught.value


class Clock:
    """One that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_conversation_is_all_that_was_asked_and_answered_in_its_order() -> None:
    kept = conversation(KeptResponses(), a=None, b="a", c="b", other="a")
    assert ids(kept.conversation("alice", "c")) == ["in-a", "out-a", "in-b", "out-b", "in-c", "out-c"]
    assert ids(kept.conversation("alice", "other")) == ["in-a", "out-a", "in-other", "out-other"]
    assert ids(kept.input_items("alice", "b")) == ["in-a", "out-a", "in-b"]
    assert kept.response("alice", "b") == response("b")
    assert kept.conversation("alice", None) == []


def test_no_key_sees_what_another_has() -> None:
    kept = conversation(KeptResponses(), a=None)
    for work in (kept.response, kept.input_items, kept.delete):
        assert refusal(work, "bob", "a").status == 404
    error = refusal(kept.conversation, "bob", "a")
    assert (error.status, error.code) == (400, "previous_response_not_found")
    assert kept.response("alice", "a")


def test_what_is_deleted_is_gone_and_conversations_that_go_on_from_it_are_over() -> None:
    kept = conversation(KeptResponses(), a=None, b="a")
    kept.delete("alice", "a")
    assert refusal(kept.delete, "alice", "a").status == 404
    assert kept.response("alice", "b") == response("b")
    assert "no response 'a' here" in refusal(kept.conversation, "alice", "b").message
    assert "from which b goes on" in refusal(kept.input_items, "alice", "b").message


def test_the_longest_unused_goes_where_there_is_no_room_and_no_other_keys() -> None:
    kept = KeptResponses(most_bytes=3000)
    kept.keep("bob", response("x", "a" * 2000), [], None)
    for name in ("a", "b", "c"):
        kept.keep("alice", response(name, "a" * 300), [], None)
    kept.response("alice", "a")
    kept.keep("alice", response("d", "a" * 300), [], None)
    kept.keep("alice", response("d", "a" * 300), [], None)  # in its own place
    there = [name for name in "abcd" if name in ids_of(kept)]
    assert there == ["a", "c", "d"] and kept.response("bob", "x")
    kept.keep("alice", response("huge", "a" * 3000), [], None)
    assert ids_of(kept) == []


def ids_of(kept: KeptResponses) -> list[str]:
    """Those of alice; looked at in a way that is no use of them."""
    return list(kept._by_tenant["alice"])


def test_one_that_nobody_used_for_so_long_is_gone_and_a_conversation_stays_as_a_whole() -> None:
    clock = Clock()
    kept = conversation(KeptResponses(seconds=10.0, clock=clock), a=None, alone=None)
    for clock.now in (6.0, 12.0, 18.0):
        kept.conversation("alice", "a")
    kept.keep("alice", response("b"), asked("b"), "a")
    clock.now = 27.0
    assert ids(kept.conversation("alice", "b")) == ["in-a", "out-a", "in-b", "out-b"]
    assert refusal(kept.response, "alice", "alone").status == 404
    clock.now = 38.0
    kept.keep("bob", response("x"), [], None)  # whoever asks
    assert ids_of(kept) == []


def test_a_conversation_is_no_longer_than_a_client_could_send_it_and_tools_are_no_part_of_it() -> None:
    kept = KeptResponses()
    before = None
    for name in ("a", "b", "c", "d", "e"):
        echoed = {"tools": [{"description": "x" * 600_000}]}
        kept.keep("alice", response(name, "x" * 500_000) | echoed, asked(name), before)
        before = name
    assert len(kept.conversation("alice", "d")) == 8 and 4 * 500_000 < MOST_BODY_BYTES < 5 * 500_000
    error = refusal(kept.conversation, "alice", "e")
    assert (error.status, error.param) == (413, "previous_response_id")
    assert len(kept.input_items("alice", "e")) == 9


def test_where_nothing_is_kept_nothing_is_there_and_the_client_is_told_that() -> None:
    kept = conversation(KeptResponses(most_bytes=0), a=None)
    assert not kept.keeps
    assert "this server keeps none" in refusal(kept.conversation, "alice", "a").message


def test_ids_that_come_again_make_no_conversation_without_a_beginning() -> None:
    kept = conversation(KeptResponses(), a=None, b="a")
    conversation(kept, a="b")  # by a server that is not ours
    assert refusal(kept.conversation, "alice", "b").code == "previous_response_not_found"
