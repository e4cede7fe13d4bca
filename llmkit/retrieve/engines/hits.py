"""What another search engine holds as the passages of ours."""

from typing import Any

from llmkit.errors import DataError
from llmkit.formats.jsonl import raw
from llmkit.retrieve.engines.address import EngineFields
from llmkit.retrieve.hits import Hit


def hit_of(identity: str, score: float, entry: dict[str, Any], fields: EngineFields) -> Hit:
    """A passage from an entry.

    Args:
        identity: of the entry, in its engine.
        score: as the engine gives it.
        entry: its fields. With `start` and `end` beside `document`, as hits have them, it is a part of it.
        fields: what they are called.

    Raises:
        DataError: there is no text.
    """
    text = _named(entry, fields.text)
    if not isinstance(text, str):
        raise DataError(
            f"{identity}: no text in {fields.text!r} (found: {', '.join(map(str, entry)) or 'nothing'})",
            hint="say which field it is: ...?text=NAME",
        )
    document, heading = _named(entry, fields.document), _named(entry, fields.heading)
    start, end = entry.get("start"), entry.get("end")
    if isinstance(document, str) and isinstance(start, int) and isinstance(end, int):
        identity = f"{document}:{start}-{end}"
    else:
        start, end = 0, len(text)
    return Hit(
        id=identity,
        score=score,
        document=document if isinstance(document, str) else identity,
        start=start,
        end=end,
        heading=heading if isinstance(heading, str) else "",
        text=text,
        source=raw(entry["source"]) if "source" in entry else None,
        metadata=raw(entry["metadata"]) if "metadata" in entry else None,
    )


def _named(entry: dict[str, Any], name: str) -> Any:
    """A field by its name, or by its path: `page.body`."""
    if name in entry:
        return entry[name]
    found: Any = entry
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
