"""Where a collection is that another search engine holds.

    opensearch+https://host:9200/INDEX?text=body         OpenSearch, Elasticsearch and what speaks as they do
    elasticsearch+http://host/prefix/INDEX               the same
    qdrant+http://host:6333/COLLECTION?vector=dense      Qdrant

Behind the question mark stand the names of fields, where they are not those of `EngineFields`.
"""

import re
from dataclasses import dataclass, fields
from typing import Literal
from urllib.parse import parse_qsl, quote

from llmkit.errors import UsageError, nearest
from llmkit.formats.url import split_url

Kind = Literal["opensearch", "qdrant"]
_KINDS: dict[str, Kind] = {"opensearch": "opensearch", "elasticsearch": "opensearch", "qdrant": "qdrant"}
_ADDRESS = re.compile(r"(opensearch|elasticsearch|qdrant)\+(https?):/+(.*)", re.DOTALL)
"""A path has one slash where an address has two."""
_EXAMPLE = "opensearch+https://host:9200/INDEX or qdrant+http://host:6333/COLLECTION"


@dataclass(frozen=True, kw_only=True)
class EngineFields:
    """What the fields of an entry are called."""

    text: str = "text"
    """What is read, and searched by words."""
    heading: str = "heading"
    document: str = "document"
    """The id of its document; an entry without one is a document itself."""
    vector: str = ""
    """What is searched by meaning; empty: the only one there is."""


@dataclass(frozen=True)
class EngineAddress:
    """A collection in a search engine."""

    kind: Kind
    url: str
    """Of the engine."""
    name: str
    """Of the collection."""
    fields: EngineFields
    shown: str
    """As it was given."""


def is_engine(given: str) -> bool:
    """Whether this names a search engine and no file."""
    return _ADDRESS.fullmatch(given) is not None


def read_address(given: str) -> EngineAddress:
    """An address as it was given.

    Raises:
        UsageError: there is no host or no collection in it, a password, or a field that is none.
    """
    matched = _ADDRESS.fullmatch(given)
    assert matched is not None
    shown = f"{matched[1]}+{matched[2]}://{matched[3]}"
    parts = split_url(f"{matched[2]}://{matched[3]}")
    if parts is None:
        raise UsageError(f"{matched[1]}: not an address", hint=_EXAMPLE)  # it may have a password in it
    if "@" in parts.netloc:
        raise UsageError(
            f"{matched[1]}: a password in the address, for everyone to see",
            hint="--index-key FILE: its one line is USER:PASSWORD or a key",
        )
    prefix, _, name = parts.path.rstrip("/").rpartition("/")
    if not name or any(mark in name for mark in "*,"):
        raise UsageError(f"{shown}: names no collection", hint=_EXAMPLE)
    named = {one.name for one in fields(EngineFields)}
    given_fields = dict(parse_qsl(parts.query, keep_blank_values=True))
    for field, value in given_fields.items():
        if field not in named or not value:
            guess = nearest(field, sorted(named)) or "text, heading, document, vector"
            raise UsageError(f"{shown}: {field}={value} names no field", hint=f"{guess}=NAME")
    url = f"{parts.scheme}://{parts.netloc}{prefix}"
    return EngineAddress(_KINDS[matched[1]], url, quote(name, safe="%"), EngineFields(**given_fields), shown)
