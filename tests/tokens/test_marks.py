"""Marks come out of a text where they went in."""

from typing import Any

from llmkit.tokens.marks import mark_messages, strip_marks

CALL = {"role": "assistant", "content": "So:", "tool_calls": [{"name": "a"}, {"function": {"name": "b"}}]}


def texts(messages: list[dict[str, Any]]) -> str:
    return "|".join(str(one["content"]) for one in messages)


def test_marks_stand_inside_the_white_space() -> None:
    messages = [{"role": "user", "content": " Hi \n"}, {"role": "assistant", "content": "\tYo. "}]
    marked = mark_messages(messages)
    assert marked is not None
    text, marks = strip_marks(texts(marked), marked)
    assert text == texts(messages) == " Hi \n|\tYo. "
    assert (marks.starts, marks.ends) == ({1: 7}, {0: 3, 1: 10})
    assert marks.spaces == {0: " \n", 1: " "} and marks.lost == []
    assert strip_marks("|".join(one["content"].strip() for one in marked), marked)[0] == "Hi|Yo."


def test_what_follows_thoughts_has_a_mark() -> None:
    messages = [{"role": "assistant", "content": "<think>a</think>\n\nb"}]
    marked = mark_messages(messages)
    assert marked is not None
    kept = marked[0]["content"].split("</think>")[-1].lstrip()
    text, marks = strip_marks(kept, marked)
    assert (text, marks.thoughts, marks.starts, marks.ends) == ("b", {0: 0}, {}, {0: 1})
    assert marks.lost == [0]


def test_a_call_of_tools_is_marked_in_the_name_of_the_last() -> None:
    marked = mark_messages([CALL])
    assert marked is not None
    names = "".join([marked[0]["tool_calls"][0]["name"], marked[0]["tool_calls"][1]["function"]["name"]])
    text, marks = strip_marks(names, marked)
    assert (text, marks.ends, marks.lost) == ("ab", {0: 2}, [0])  # its text is not there
    assert CALL["tool_calls"] == [{"name": "a"}, {"function": {"name": "b"}}]  # the record stays as it was


def test_the_last_part_of_a_list_is_marked() -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b "}]}
    marked = mark_messages([message])
    assert marked is not None
    assert strip_marks("".join(part["text"] for part in marked[0]["content"]), marked)[1].ends == {0: 2}


def test_messages_without_text_are_left_as_they_are() -> None:
    messages = [{"role": "user"}, {"role": "assistant", "content": " "}, {"role": "tool", "content": None}]
    assert mark_messages(messages) == messages
    assert strip_marks("x", messages)[1].lost == []


def test_a_text_written_twice_has_no_place() -> None:
    marked = mark_messages([{"role": "user", "content": "a"}])
    assert marked is not None
    text, marks = strip_marks(texts(marked * 2), marked)
    assert (text, marks.ends) == ("a|a", {})


def test_messages_that_use_these_code_points_are_not_marked() -> None:
    assert mark_messages([{"role": "user", "content": "\ufdd3"}]) is None
    assert mark_messages([{"role": "user", "content": "a", "name": "\ufdd0"}]) is None
