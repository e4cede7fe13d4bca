"""Addresses of collections in search engines."""

from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.retrieve.engines.address import EngineFields, is_engine, read_address


@pytest.mark.parametrize(
    ("given", "kind", "url", "name"),
    [
        ("opensearch+https://host:9200/docs", "opensearch", "https://host:9200", "docs"),
        ("elasticsearch+http://host/behind/a/docs", "opensearch", "http://host/behind/a", "docs"),
        ("qdrant+http://[::1]:6333/docs/", "qdrant", "http://[::1]:6333", "docs"),
        ("qdrant+http://host/a b", "qdrant", "http://host", "a%20b"),
    ],
)
def test_an_address_is_read_as_it_is_given_and_as_a_path_has_it(
    given: str, kind: str, url: str, name: str
) -> None:
    for written in (given, str(Path(given))):
        found = read_address(written)
        assert (found.kind, found.url, found.name) == (kind, url, name)
        assert "://" in found.shown


def test_fields_have_the_names_that_are_given() -> None:
    found = read_address("opensearch+http://h/docs?text=page.body&vector=v")
    assert found.fields == EngineFields(text="page.body", vector="v")


@pytest.mark.parametrize(
    "given", ["a.index", "opensearch", "http://host/docs", "./qdrant+http", "solr+http://h/d"]
)
def test_a_file_is_no_address(given: str) -> None:
    assert not is_engine(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("qdrant+http://host:6333", "names no collection"),
        ("opensearch+http://host/*", "names no collection"),
        *((f"opensearch+http://{host}/docs", "not an address") for host in ("[::1", "a..b", "a:b", ":80")),
        ("opensearch+http://host/docs?txt=a", "txt=a names no field"),
        ("opensearch+http://host/docs?text=", "names no field"),
    ],
)
def test_what_is_wrong_is_told(given: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("*", r"\*")):
        read_address(given)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="for everyone to see") as caught:
        read_address("opensearch+https://me:secret@host/docs")
    assert "secret" not in f"{caught.value}{caught.value.hint}" and "--index-key" in caught.value.hint
