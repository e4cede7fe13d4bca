"""Documents whose duplicates are known, and `dedup_files` called in one line."""

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.formats.provenance import Invocation
from llmkit.formats.streams import open_input
from llmkit.progress import SILENT
from llmkit.workflows.dedup.dedup import dedup_files
from llmkit.workflows.dedup.options import DedupConfig, DedupSources
from llmkit.workflows.dedup.report import DedupReport
from tests.text.duplicates import edited, random_text, rewritten

Rows = list[dict[str, Any]]
LICENCE = " ".join(f"licence word{n} of the block" for n in range(30))


@dataclass(frozen=True)
class Done:
    """What a run has left."""

    report: DedupReport
    kept: Rows
    rejects: Rows
    clusters: Rows
    content: bytes
    """Of the documents, decompressed."""

    @property
    def ids(self) -> set[str]:
        """Of what is kept."""
        return {row["id"] for row in self.kept}

    @property
    def dropped(self) -> dict[str, str]:
        """The id of what is kept, by that of what is not."""
        return {row["id"]: row["_reject"]["dup_of"] for row in self.rejects if "dup_of" in row["_reject"]}


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Records as jsonl."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read_rows(path: Path) -> Rows:
    """Records of a file, or of the parts of a folder; none where there is none."""
    return [json.loads(line) for line in content_of(path).splitlines()]


def content_of(path: Path) -> bytes:
    """A file decompressed, or the parts of a folder one behind the other."""
    parts = sorted(path.glob("part-*")) if path.is_dir() else [path] if path.exists() else []
    found = b""
    for part in parts:
        with open_input(part) as stream:
            found += stream.read()
    return found


def dedup(
    folder: Path,
    inputs: Sequence[Path],
    name: str = "out.jsonl",
    *,
    fail_over: float | None = None,
    **settings: Any,
) -> Done:
    """Run it into `folder`; settings are those of DedupConfig and DedupSources."""
    folder.mkdir(exist_ok=True)
    own = {key: settings.pop(key) for key in list(settings) if key in DedupConfig.__dataclass_fields__}
    config = DedupConfig(**own)
    extras: dict[str, Any] = {"rejects": folder / f"{name}.rejects"}
    if config.by in ("near", "exact") and settings.pop("with_clusters", config.by == "near"):
        extras["clusters"] = folder / f"{name}.clusters"
    sources = DedupSources(inputs=inputs, out=folder / name, **(extras | settings))
    invocation = Invocation("dedup", {"by": config.by})
    report = dedup_files(sources, config, invocation=invocation, progress=SILENT, fail_over=fail_over)
    assert report.documents == report.kept_documents + report.removed_documents
    assert report.input_bytes == report.kept_bytes + report.removed_bytes
    rejects = read_rows(sources.rejects) if sources.rejects else []
    clusters = read_rows(sources.clusters) if sources.clusters else []
    kept = read_rows(folder / name)
    assert len(kept) == report.kept_documents
    return Done(report, kept, rejects, clusters, content_of(folder / name))


def families(seed: int = 0, count: int = 12) -> tuple[Rows, dict[str, str]]:
    """Documents of several kinds, and the family of each: those of one family are duplicates."""
    rng = random.Random(seed)
    rows: Rows = []
    family: dict[str, str] = {}

    def add(kind: str, number: int, texts: Sequence[str], *, alike: bool = True) -> None:
        for place, text in enumerate(texts):
            name = f"{kind}-{number}-{place}"
            rows.append({"id": name, "text": text, "source": rng.choice(("web", "wiki"))})
            family[name] = f"{kind}-{number}" + ("" if alike else f"-{place}")

    for number in range(count):
        base = random_text(rng, 200)
        add("exact", number, [base] * 3)
        base = random_text(rng, 200)
        add("spaces", number, [base, rewritten(base, rng), rewritten(base, rng)])
        base = random_text(rng, 300)
        add("edits", number, [base, *(edited(base, rng, 0.004) for _ in range(2))])
        base = random_text(rng, 300)
        add("wrapped", number, [base, f"Home About Contact {base} All rights reserved by somebody else"])
        base = random_text(rng, 300)
        add("cut", number, [base, " ".join(base.split()[:280])])
        paragraphs = [random_text(rng, 60) for _ in range(6)]
        add("moved", number, ["\n\n".join(paragraphs), "\n\n".join(rng.sample(paragraphs, 6))])
        add("single", number, [random_text(rng, rng.randrange(5, 300))])
        slots = [random_text(rng, 25) for _ in range(2)]
        template = [f"Welcome to the page of {slot} which you can buy here and now" for slot in slots]
        add("template", number, template, alike=False)
        add("licence", number, [f"{random_text(rng, 200)} {LICENCE}" for _ in range(2)], alike=False)
        base = random_text(rng, 200)  # each like the next, the last not like the first
        chain = [base]
        for _ in range(3):
            chain.append(edited(chain[-1], rng, 0.025))
        add("chain", number, chain)
    rng.shuffle(rows)
    return rows, family
