"""What clean, dedup and mix have in common: where results go, where they work, and who does the work."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from llmkit.errors import AlreadyDone, UsageError
from llmkit.formats.atomic import refuse_existing
from llmkit.formats.digest import digest_inputs
from llmkit.formats.file_kind import is_json_lines
from llmkit.formats.output_place import linked, refuse_special
from llmkit.formats.provenance import Invocation, is_made_by, read_provenance
from llmkit.formats.streams import STDIO, is_stream
from llmkit.machine import is_alive
from llmkit.workflows.unit_folder import written_beside
from llmkit.workflows.units import ExecutorName

RECORDS = {"-o", "--rejects", "--clusters"}
"""Outputs that flow, and may go to stdout; others need a name."""
FILES = {"--rejects", "--clusters", "--report"}
"""Outputs that are files, whatever they are called."""
NO_FOLDER = frozenset(
    {
        *(".json", ".jl", ".txt", ".text", ".md", ".csv", ".tsv", ".html", ".parquet", ".arrow"),
        *(".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz", ".lz4", ".zip", ".tar", ".tgz"),
    }
)
"""Suffixes by which somebody means a file: a folder of that name would be a surprise."""


@dataclass(frozen=True, kw_only=True)
class CorpusFiles:
    """Outputs and workers: nothing of it changes which documents are kept."""

    out: Path | None = None
    """A .jsonl file; a folder of parts; None or `-` for stdout."""
    rejects: Path | None = None
    report: Path | None = None
    force: bool = False
    workers: int = 1
    executor: ExecutorName = "process"
    shard: str | None = None

    @property
    def is_folder(self) -> bool:
        """Whether the output is a folder of parts: a name that says neither jsonl nor a stream."""
        if self.out is None or self.out == STDIO or is_json_lines(self.out):
            return False
        return self.out.is_dir() or not self.out.exists()

    @property
    def is_piped(self) -> bool:
        """Whether stdout has records, and no place for a report."""
        return self.out is None or STDIO in self.places.values()

    @property
    def places(self) -> dict[str, Path | None]:
        """Every output by its flag."""
        return {"-o": self.out, "--rejects": self.rejects, "--report": self.report}


def check_places(files: CorpusFiles, inputs: Sequence[Path]) -> None:
    """Check that outputs are not there yet, are no inputs, and not in one place.

    Args:
        files: with its outputs.
        inputs: files, and folders as they were named.

    Raises:
        UsageError: one of them is, two are for stdout, a stream is to become a folder of parts, or the name
            of a new one is that of a file.
    """
    if files.is_folder and any(map(is_stream, inputs)):
        raise UsageError(
            "stdin: documents from a pipe cannot be taken up again, as a folder's parts can",
            hint=f"-o {files.out}.jsonl.zst writes one file",
        )
    own = written_beside(files.out) if files.is_folder and files.out is not None else set()
    taken: dict[str, Path] = {}
    for name, path in (files.places | {"-o": files.out or STDIO}).items():
        if path is None:
            continue
        place = path if path == STDIO else linked(path).resolve()
        for known, other in taken.items():
            if other in (place, *place.parents):
                raise UsageError(f"{path}: {known} and {name} in one place", hint=f"choose another {name}")
        taken[name] = place
        if path == STDIO and name in RECORDS:
            continue
        force = files.force or place in own
        refuse_existing(path, force=force, inputs=inputs, is_file=name in FILES)
        if name not in RECORDS | FILES:
            refuse_special(path)
    _refuse_other_files(files)


def _refuse_other_files(files: CorpusFiles) -> None:
    if files.out is None or not files.is_folder or files.out.exists():
        return
    if files.out.suffix.lower() in NO_FOLDER:
        plain = files.out.with_suffix("").with_suffix("")
        raise UsageError(
            f"{files.out}: documents are written as .jsonl, .jsonl.zst or .jsonl.gz, or to a folder",
            hint=f"-o {plain}.jsonl writes one file, -o {plain} a folder of parts",
        )


def refuse_done(files: CorpusFiles, invocation: Invocation, inputs: Callable[[], Iterable[Path]]) -> None:
    """Check that other shards have not made the folder whole already.

    Args:
        files: with the shard, if it is one.
        invocation: as it goes into the folder's `llmkit.json`.
        inputs: what is read, as it goes there; all of it is read to compare.

    Raises:
        AlreadyDone: they have. A shard without units of its own, or one that is run again, is no error.
    """
    if files.shard is None or files.force or not files.is_folder or files.out is None:
        return
    record = read_provenance(files.out)
    if record and is_made_by(record, invocation) and record["inputs"] == digest_inputs(inputs()):
        raise AlreadyDone(
            f"{files.out}: whole already, all shards are done", hint="--force does this shard again"
        )


@contextmanager
def work_folder(out: Path | None, stage: str) -> Iterator[Path]:
    """A folder for what is needed only while it works: beside the output, else where temporary files go.

    What a process that is dead has left beside the output is removed.
    """
    if out is None or out == STDIO:
        with tempfile.TemporaryDirectory(prefix=f"llmkit-{stage}-") as name:
            yield Path(name)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{out.name}.{stage}-"
    for leftover in out.parent.iterdir():
        process = leftover.name.removeprefix(prefix)
        if leftover.name.startswith(prefix) and process.isdigit() and not is_alive(int(process)):
            shutil.rmtree(leftover, ignore_errors=True)
    folder = out.parent / f"{prefix}{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def join_parts(parts: Iterable[Path], out: BinaryIO) -> None:
    """Files one behind the other: lines can be joined, and frames of zstd and members of gzip as well."""
    for part in parts:
        with part.open("rb") as stream:
            shutil.copyfileobj(stream, out, 1 << 20)
