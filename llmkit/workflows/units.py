"""Units of work with receipts: what is done is not done again, whoever runs it and however it stopped.

A stage is a function over units. Each writes its outputs into one folder and leaves a receipt there:

    FOLDER/.receipts/clean-00003.json    {"unit", "fingerprint", "outputs": [{"path", …}], "report": {…}}

A receipt counts when it has the fingerprint of this job and its outputs are there in their sizes. It is
written last and under a temporary name, so that `kill -9` at any moment leaves a unit done or not done.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol

import msgspec

from llmkit.errors import UsageError
from llmkit.formats.atomic import write_atomic
from llmkit.formats.digest import digest_bytes, digest_file
from llmkit.formats.file_kind import holds_json_lines
from llmkit.formats.magic import compression_in
from llmkit.version import __version__

ExecutorName = Literal["inline", "process", "ray"]
RECEIPTS = ".receipts"
UNIT_BYTES = 64 << 20
"""Of plain jsonl: some seconds of work, so that what a dead worker loses is small."""


class Unit(msgspec.Struct, frozen=True):
    """One piece of work, in values that JSON has."""

    name: str
    """As `clean-00003`: also the receipt's name."""
    task: dict[str, Any]
    """What the function needs: paths as text, ranges, settings."""


class Output(msgspec.Struct, frozen=True):
    """A file that a unit made."""

    path: str
    """Relative to the folder."""
    size_bytes: int
    rows: int
    sha256: str


class Receipt(msgspec.Struct, frozen=True):
    """What a unit that is done has made."""

    unit: str
    fingerprint: str
    outputs: tuple[Output, ...]
    report: dict[str, Any]
    """Numbers that can be merged with those of other units."""


class Piece(msgspec.Struct, frozen=True):
    """A part of an input: bytes `start` up to `stop` of a plain jsonl file, or a whole file (`stop` None)."""

    file: str
    start: int = 0
    stop: int | None = None
    first_line: int = 1
    """The number of its first line in the file."""
    stream: str | None = None
    """What `file` was made of, where that can be read only once: the input, for people."""


UnitFunction = Callable[[Unit, Path], tuple[list[Output], dict[str, Any]]]
"""A function of a module (a worker imports it by its name): writes whole files into the folder."""


class Executor(Protocol):
    """Runs units in any order: see executors.py."""

    def map(
        self, function: UnitFunction, units: Sequence[Unit], folder: Path, fingerprint: str
    ) -> Iterator[Receipt]:
        """Do the units; their receipts as they come. Raises what a unit raises, in this process."""
        ...


def run_units(
    function: UnitFunction,
    units: Sequence[Unit],
    *,
    folder: Path,
    executor: Executor,
    fingerprint: str,
    on_done: Callable[[Receipt], None] | None = None,
) -> list[Receipt]:
    """Do the units that have no valid receipt yet.

    Args:
        function: what is done with each; must give the same bytes for the same unit.
        units: with names of their own.
        folder: where outputs and receipts go.
        executor: runs them, in any order.
        fingerprint: see `fingerprint_of`.
        on_done: called with each receipt as it comes, old ones first; not in the order of the units.

    Returns:
        A receipt for each unit, in the order of the units.

    Raises:
        LlmkitError: what a unit failed with. Units that were done keep their receipts.
        ResourceError: workers died on the same unit again and again.
    """
    done = find_receipts(units, folder, fingerprint)
    (folder / RECEIPTS).mkdir(parents=True, exist_ok=True)
    for receipt in done.values():
        if on_done is not None:
            on_done(receipt)
    missing = [unit for unit in units if unit.name not in done]
    for receipt in executor.map(function, missing, folder, fingerprint):
        done[receipt.unit] = receipt
        if on_done is not None:
            on_done(receipt)
    return [done[unit.name] for unit in units]


def complete_unit(function: UnitFunction, unit: Unit, folder: Path, fingerprint: str) -> Receipt:
    """Do one unit and leave its receipt; what an executor has its workers do."""
    outputs, report = function(unit, folder)
    receipt = Receipt(unit.name, fingerprint, tuple(outputs), report)
    write_atomic(_receipt_path(folder, unit.name), msgspec.json.encode(receipt))
    return receipt


def find_receipts(units: Iterable[Unit], folder: Path, fingerprint: str) -> dict[str, Receipt]:
    """The valid receipts of these units, by name."""
    found = {}
    for unit in units:
        try:
            receipt = msgspec.json.decode(_receipt_path(folder, unit.name).read_bytes(), type=Receipt)
        except (FileNotFoundError, msgspec.MsgspecError):
            continue
        if receipt.fingerprint == fingerprint and all(_is_there(folder, one) for one in receipt.outputs):
            found[unit.name] = receipt
    return found


def output_of(path: Path, folder: Path, rows: int) -> Output:
    """The record of a file that a unit has written into the folder."""
    return Output(path.relative_to(folder).as_posix(), path.stat().st_size, rows, digest_file(path))


def fingerprint_of(stage: str, settings: Any, inputs: Iterable[Path]) -> str:
    """A digest of all that decides a job's bytes.

    Args:
        stage: its name.
        settings: anything JSON-able; not the number of workers.
        inputs: files, known by name, size and time of change: reading them would be the work itself.
    """
    files = [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(inputs, key=name_order)
    ]
    told = msgspec.to_builtins([stage, __version__, settings, files])
    return digest_bytes(json.dumps(told).encode())  # a name need not be UTF-8


def select_shard(units: Sequence[Unit], shard: str | None) -> list[Unit]:
    """The units of shard `i/n` (from 1 to n); all of them for None.

    Raises:
        UsageError: not two numbers with 1 <= i <= n.
    """
    if shard is None:
        return list(units)
    index, slash, count = shard.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise UsageError(
            f"--shard {shard}: not a shard (found {shard!r})",
            hint="--shard 1/8 to --shard 8/8: all units, once",
        )
    return list(units[int(index) - 1 :: int(count)])


def name_order(path: Path) -> tuple[str, str]:
    """What inputs are sorted by, so that the order they were named in is of no account: name, then path."""
    return path.name, str(path)


def split_inputs(
    paths: Iterable[Path],
    *,
    unit_bytes: int = UNIT_BYTES,
    numbered: bool = True,
    spools: Mapping[Path, Path] = MappingProxyType({}),
) -> list[Piece]:
    """Files in pieces of about `unit_bytes`, in the order of their names.

    A piece of plain jsonl begins and ends at a line; any other file is one piece.

    Args:
        paths: files.
        unit_bytes: of plain jsonl in a piece.
        numbered: whether every piece knows the number of its first line, for which all of plain jsonl is
            read once; else only the first of a file does (the others have 0).
        spools: files of what came from those of the paths that can be read only once.
    """
    pieces = []
    for given in sorted(paths, key=name_order):
        path, stream = (spools[given], str(given)) if given in spools else (given, None)
        size = path.stat().st_size
        is_small = size <= unit_bytes
        if is_small or _is_packed(path) or not holds_json_lines(path):
            pieces.append(Piece(str(path), stream=stream))
            continue
        start, line = 0, 1
        while start < size:
            stop = _line_end(path, start + unit_bytes, size)
            pieces.append(Piece(str(path), start, stop, line, stream))
            line = line + _count_lines(path, start, stop) if numbered else 0
            start = stop
    return pieces


def _line_end(path: Path, position: int, size: int) -> int:
    """The first byte after the line that holds the byte before `position`."""
    if position >= size:
        return size
    with path.open("rb") as stream:
        stream.seek(position - 1)
        stream.readline()
        return stream.tell()


def _count_lines(path: Path, start: int, stop: int) -> int:
    """Line feeds between two bytes of a file."""
    lines = 0
    with path.open("rb") as stream:
        stream.seek(start)
        while start < stop and (block := stream.read(min(1 << 20, stop - start))):
            lines += block.count(b"\n")
            start += len(block)
    return lines


def _is_packed(path: Path) -> bool:
    """Whether a file is compressed, whatever it is called."""
    with path.open("rb") as stream:
        return compression_in(stream.read(4)) is not None


def _receipt_path(folder: Path, name: str) -> Path:
    return folder / RECEIPTS / f"{name}.json"


def _is_there(folder: Path, output: Output) -> bool:
    try:
        return (folder / output.path).stat().st_size == output.size_bytes
    except FileNotFoundError:
        return False
