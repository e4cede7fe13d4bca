"""What a document says of itself when it has been taken."""

import json
from typing import Any

from llmkit.formats.documents import Document
from llmkit.formats.jsonl import encode_line, parse_line
from llmkit.workflows.mix.write import taken_record


def taken(text: str, identity: str = "found") -> dict[str, Any]:
    record = parse_line(text.encode(), "f", 1).record
    return json.loads(encode_line(taken_record(Document(identity, "t", "f", 1, record), "web")))


def test_an_id_and_a_source_are_put_where_there_are_none() -> None:
    history = {"history": [{"stage": "mix", "source": "web"}]}
    plain = taken('{"text":"t","n":1}')
    assert plain == {"id": "found", "text": "t", "n": 1, "source": "web", "metadata": history}
    assert next(iter(plain)) == "id"
    assert taken('{"id":null,"text":"t","source":null}')["id"] == "found"
    own = taken('{"text":"t","id":7,"source":"mine"}')
    assert (own["id"], own["source"], own["metadata"]) == (7, "mine", history)
    assert list(own) == ["text", "id", "source", "metadata"]
