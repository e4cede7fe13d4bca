"""Events as the standard has them."""

import json

from llmkit.server.sse import data, event


def test_an_event_is_one_line_of_data_whatever_the_text_has() -> None:
    sent = data({"text": "two\nlines\r\n"}).decode()
    assert sent.count("\n") == 2 and sent.endswith("\n\n")
    assert json.loads(sent.removeprefix("data: ")) == {"text": "two\nlines\r\n"}


def test_a_name_comes_before_the_data() -> None:
    assert event("ping", {"type": "ping"}) == b'event: ping\ndata: {"type":"ping"}\n\n'
