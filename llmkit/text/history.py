"""What has become of a document: `metadata.history`, a list that each stage adds to that changed or chose it.

    {"id": …, "metadata": {"license": …, "history": [{"stage": "clean", "edits": {…}},
                                                     {"stage": "dedup", "rule": "near", "duplicates": 2},
                                                     {"stage": "mix", "source": "web", "epoch": 2}]}}

Everything else of a record stays as it was written.
"""

from typing import Any

import msgspec

from llmkit.formats.jsonl import MALFORMED, Record, decode_value, raw

METADATA, HISTORY = "metadata", "history"
LICENCES = ("license", "licence", "licenses")
"""Where a licence is declared: in `metadata` and in the record itself, as a name or a list of names."""
_ORIGINS = {"source", METADATA, *LICENCES}


def with_history(record: Record, stage: str, **facts: Any) -> Record:
    """The record with one more entry in its history, put last.

    A history that is no list becomes its first entry; `metadata` that is no object is kept as `metadata.was`.
    """
    metadata = roomy_object_at(record, METADATA)
    metadata[HISTORY] = raw([*_entries(metadata), {"stage": stage, **facts}])
    return {**record, METADATA: raw(metadata)}


def with_latest(record: Record, **facts: Any) -> Record:
    """The record with more facts in the last entry of its history, which it has."""
    metadata = object_at(record, METADATA) or {}
    *before, latest = _entries(metadata)
    metadata[HISTORY] = raw([*before, {**latest, **facts}])
    return {**record, METADATA: raw(metadata)}


def history_of(record: Record) -> list[Any]:
    """The entries of a record's history, oldest first."""
    return _entries(object_at(record, METADATA) or {})


def licence_of(record: Record) -> str | None:
    """The licence that a record declares, as it is spelled there: several joined by AND, None for none."""
    found = licences_of(record)
    if len(found) > 1:
        found = tuple(f"({name})" if " OR " in name else name for name in found)
    return " AND ".join(found) or None


def licences_of(record: Record) -> tuple[str, ...]:
    """The licences that a record declares, each once, as they are spelled there: all of them apply."""
    places = (object_at(record, METADATA) or {}, record)
    found: list[str] = []
    for declared in [decode_value(place[key]) for place in places for key in LICENCES if key in place]:
        names = declared if isinstance(declared, list) else [declared]
        found += [name for name in names if isinstance(name, str) and name]
    return tuple(dict.fromkeys(found))


def object_at(record: Record, key: str) -> Record | None:
    """The object at a key, its values as they stand: empty where nothing is, None for something else."""
    if key not in record or bytes(record[key]) == b"null":
        return {}
    try:
        return msgspec.json.decode(record[key], type=Record)
    except MALFORMED:
        return None


def roomy_object_at(record: Record, key: str) -> Record:
    """The object at a key, into which more can be put: what is no object is kept in one, as `was`."""
    found = object_at(record, key)
    return {"was": record[key]} if found is None else found


def origin_of(record: Record) -> dict[str, Any]:
    """Where a document is from, for later stages: `source`, `license`, `epoch`, as far as it is known."""
    if record.keys().isdisjoint(_ORIGINS):  # most of millions of records, told at once
        return {}
    found: dict[str, Any] = {}
    source = decode_value(record["source"]) if "source" in record else None
    if isinstance(source, str):
        found["source"] = source
    licence = licence_of(record)
    if licence is not None:
        found["license"] = licence
    if METADATA not in record:
        return found
    epochs = [one["epoch"] for one in history_of(record) if isinstance(one, dict) and "epoch" in one]
    if epochs and isinstance(epochs[-1], int):
        found["epoch"] = epochs[-1]
    return found


def _entries(metadata: Record) -> list[Any]:
    found = decode_value(metadata[HISTORY]) if HISTORY in metadata else []
    return found if isinstance(found, list) else [found]
