"""Entries of search engines as passages."""

import pytest

from llmkit.errors import DataError
from llmkit.retrieve.engines.address import EngineFields
from llmkit.retrieve.engines.hits import hit_of

NAMES = EngineFields()


def test_an_entry_that_was_a_passage_of_ours_is_that_passage_again() -> None:
    entry = {"document": "zoo", "start": 5, "end": 8, "heading": "Ants", "text": "ant", "metadata": {"a": 1}}
    hit = hit_of("x7", 2.5, entry, NAMES)
    assert (hit.id, hit.document, hit.start, hit.end, hit.heading) == ("zoo:5-8", "zoo", 5, 8, "Ants")
    assert (hit.score, hit.text, bytes(hit.metadata or b"")) == (2.5, "ant", b'{"a":1}')


def test_any_other_entry_is_a_document_of_its_own() -> None:
    hit = hit_of("x7", 1.0, {"page": {"body": "ant"}, "start": 3}, EngineFields(text="page.body"))
    assert (hit.id, hit.document, hit.start, hit.end, hit.text) == ("x7", "x7", 0, 3, "ant")
    part = hit_of("x7", 1.0, {"text": "ant", "doc": "zoo"}, EngineFields(document="doc"))
    assert (part.id, part.document) == ("x7", "zoo")


@pytest.mark.parametrize("entry", [{}, {"body": "a"}, {"text": 3}])
def test_an_entry_without_a_text_is_told_with_its_fields(entry: dict[str, object]) -> None:
    with pytest.raises(DataError, match="x7: no text in 'text'"):
        hit_of("x7", 1.0, entry, NAMES)
