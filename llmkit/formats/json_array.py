"""One JSON array of records where lines of JSON are read: what it begins with, and what is said of it."""

import re
from pathlib import Path

from llmkit.errors import DataError, as_word
from llmkit.formats.streams import compression_of, plain_name

_BEGINS = re.compile(rb'\[\s*\{\s*"')
_MAY_BEGIN = re.compile(rb'\[\s*(?:\{\s*(?:"[^}]*)?)?')
_KEYS = re.compile(
    rb'"(?:text|messages|conversations?|prompt|completion|instruction|question|content|html|tokens)"\s*:'
)
"""What records have. Any other array may be a file of a program's, which is text like its sources."""
LOOK = 1 << 12
"""Bytes, at most, that tell what begins: a brace, a bracket, a key in it, or anything else."""


def begins_array(start: bytes) -> bool:
    """Whether a content without space before it is an array of records, and no text."""
    return _BEGINS.match(start) is not None and _KEYS.search(start, 0, LOOK) is not None


def may_begin_array(start: bytes) -> bool:
    """Whether more of a content is needed to tell."""
    is_open = _MAY_BEGIN.fullmatch(start) is not None  # its first object
    return is_open and len(start) < LOOK and _KEYS.search(start) is None


def array_error(path: Path | None) -> DataError:
    """What is said of such a file.

    Read as one text it would be the whole corpus as one document, JSON and all; passed over as one bad line
    it would be lost.

    Args:
        path: None for stdin.
    """
    what = "one JSON array, not lines of JSON objects"
    if path is None:
        return DataError(f"stdin: {what}", hint="jq -c '.[]' FILE | llmkit COMMAND")
    file = as_word(path)
    read = {
        None: f"jq -c '.[]' {file}",
        "zstd": f"zstd -dc {file} | jq -c '.[]'",
        "gzip": f"gzip -dc {file} | jq -c '.[]'",
    }[compression_of(path)]
    lines = path.with_name(plain_name(path)).with_suffix(".jsonl")
    return DataError(f"{path}: {what}", hint=f"{read} > {as_word(lines)}")
