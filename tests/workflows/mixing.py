"""Sources of documents with licences, and `mix_documents` called in one line."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from llmkit.formats.provenance import Invocation
from llmkit.formats.streams import open_input
from llmkit.workflows.mix.mix import mix_documents
from llmkit.workflows.mix.options import MixFiles, MixSettings, parse_sources
from llmkit.workflows.mix.report import MixReport

LICENCES = {"web": None, "wiki": "CC BY-SA 4.0", "code": "MIT"}


def rows_of(name: str, count: int) -> list[dict[str, Any]]:
    """Documents of 40 to 239 bytes, every tenth without an id."""
    rows = []
    for n in range(count):
        row: dict[str, Any] = {"id": f"{name}-{n}", "text": f"{name} {n} ".ljust(40 + n * 37 % 200, "x")}
        if LICENCES.get(name):
            row["metadata"] = {"license": LICENCES[name], "n": 1.0}
        rows.append(row if n % 10 else {key: value for key, value in row.items() if key != "id"})
    return rows


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Records as jsonl."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_sources(folder: Path) -> dict[str, Path]:
    """`web` is a folder of three files, `wiki` and `code` are files."""
    web = rows_of("web", 300)
    for number in range(3):
        write_rows(folder / "web" / f"{number}.jsonl", web[number * 100 : number * 100 + 100])
    return {
        "web": folder / "web",
        **{name: write_rows(folder / f"{name}.jsonl", rows_of(name, 60)) for name in ("wiki", "code")},
    }


def mix(
    sources: Sequence[str], out: Path, *, settings: dict[str, Any] | None = None, **files: Any
) -> MixReport:
    """Mix `NAME=PATH:WEIGHT` sources into a file or folder."""
    wanted = MixSettings(
        sources=parse_sources(sources),
        rejects="rejects" in files,
        skips_bad="rejects" in files,
        **settings or {},
    )
    words = tuple(word for source in sources for word in ("--source", source))
    invocation = Invocation("mix", {"source": list(sources), "seed": wanted.seed}, words)
    return mix_documents(MixFiles(out=out, **files), wanted, invocation=invocation)


def content_of(path: Path) -> bytes:
    """A file decompressed, or the parts of a folder one behind the other."""
    found = b""
    for part in sorted(path.glob("part-*")) if path.is_dir() else [path]:
        with open_input(part) as stream:
            found += stream.read()
    return found


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The records there."""
    return [json.loads(line) for line in content_of(path).splitlines()]
