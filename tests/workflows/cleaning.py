"""Documents for tests of `clean`: every third has an e-mail address, which `pii="drop"` drops."""

import json
from pathlib import Path
from typing import Any

import zstandard

from llmkit.formats.streams import open_input
from llmkit.workflows.clean.options import CleanSettings

SETTINGS = CleanSettings(pii="drop", keep_bad=True, rejects=True)
BAD = b"no json at all\n"


def rows_of(name: str, count: int = 40) -> list[dict[str, Any]]:
    """Records that `name` tells apart from others."""
    return [
        {
            "id": f"{name}-{n}",
            "text": f"{name} {n} " + ("write to jane.roe@example.org" if n % 3 == 0 else "says nothing") * 9,
            "n": n,
        }
        for n in range(count)
    ]


def lines_of(name: str, count: int = 40, *, bad: bool = False) -> bytes:
    """The same as jsonl; `bad`: with a malformed line in the middle."""
    lines = [json.dumps(row).encode() + b"\n" for row in rows_of(name, count)]
    if bad:
        lines.insert(count // 2, BAD)
    return b"".join(lines)


def write_inputs(folder: Path, names: str = "abcdef", count: int = 40) -> list[Path]:
    """Files of documents, the first with a malformed line, every second one compressed."""
    folder.mkdir(exist_ok=True, parents=True)
    paths = []
    for index, name in enumerate(names):
        content = lines_of(name, count, bad=index == 0)
        path = folder / (f"{name}.jsonl.zst" if index % 2 else f"{name}.jsonl")
        path.write_bytes(zstandard.compress(content) if index % 2 else content)
        paths.append(path)
    return paths


def decompressed(path: Path) -> bytes:
    """A file's content, out of however many frames."""
    with open_input(path) as stream:
        return stream.read()
