"""What makes vectors is named once, and an index of any release remembers it."""

from pathlib import Path

import msgspec
import pytest

from llmkit.errors import UsageError
from llmkit.workflows.retrieve.embedding import Embedding, EmbedOptions


def test_a_model_and_a_server_are_not_both_named() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        EmbedOptions(model=Path("run"), url="http://server")
    with pytest.raises(UsageError, match="is of a server"):
        EmbedOptions(model=Path("run"), name="small")
    assert EmbedOptions(url="http://server", name="small").is_given and not EmbedOptions().is_given


def test_an_index_from_before_poolings_were_told_remembers_its_model() -> None:
    told = b'{"model": "run", "sha256": "abc", "width": 8}'
    assert msgspec.json.decode(told, type=Embedding) == Embedding("run", "abc", 8)


def test_a_server_and_a_model_with_a_pooling_of_its_own_are_made_for_vectors() -> None:
    plain = Embedding("run", "abc", 8)
    assert not plain.is_made_for_it
    for told in ({"pooling": "last"}, {"url": "http://server"}):
        assert msgspec.structs.replace(plain, **told).is_made_for_it
