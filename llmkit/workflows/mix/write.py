"""Second look at the documents of a mixture: those that are taken are put aside, then written in their order.

work/measure-00000.lines    the lines of a unit's documents that are taken, one behind the other
work/measure-00000.ends     uint64: where each ends
part-00000.jsonl.zst …      the result
"""

from array import array
from contextlib import ExitStack
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from llmkit.formats.atomic import atomic_file
from llmkit.formats.documents import Document
from llmkit.formats.jsonl import BadLine, Record, encode_line, raw, with_id
from llmkit.formats.rejects import reject_record
from llmkit.formats.streams import open_output
from llmkit.text.history import with_history, with_latest
from llmkit.text.rule import Verdict
from llmkit.workflows.dedup.corpus import map_array
from llmkit.workflows.dedup.files import write_array
from llmkit.workflows.mix.choose import PLAN
from llmkit.workflows.mix.measure import WORK, judged
from llmkit.workflows.mix.options import MixSettings
from llmkit.workflows.units import Output, Piece, Unit, output_of

STAGE = "mix"
_AT_ONCE = 64
"""Lines that are written together."""


class TakeTask(msgspec.Struct, frozen=True):
    """The input of a unit of the first look once more."""

    source: str
    pieces: tuple[Piece, ...]
    settings: MixSettings
    measured: str
    """Name of that unit."""


class PartTask(msgspec.Struct, frozen=True):
    """Documents `start` up to `stop` of the result."""

    part: str
    start: int
    stop: int
    measured: tuple[str, ...]
    """Names of the units that the plan speaks of."""


def take_unit(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """Put aside the documents of a unit that are taken; and the rejects, where they are wanted."""
    task = msgspec.convert(unit.task, TakeTask)
    chosen = iter(map_array(folder / WORK / f"{task.measured}.chosen", np.dtype("<u4")).tolist())
    wanted = next(chosen, None)
    lines, ends = (folder / WORK / f"{task.measured}.{suffix}" for suffix in ("lines", "ends"))
    rejects = rejects_of(folder, task.measured)
    places = array("Q")
    rejected, position = 0, 0
    with ExitStack() as stack:
        out = stack.enter_context(atomic_file(lines))
        bad = stack.enter_context(atomic_file(rejects)) if task.settings.rejects else None
        number = 0
        for document, verdict in judged(task.pieces, task.settings):
            if isinstance(document, BadLine) or verdict is not None:
                rejected += 1
                if bad is not None:
                    bad.write(encode_line(_rejected(document, verdict)))
                continue
            if number == wanted:
                position += out.write(encode_line(taken_record(document, task.source)))
                places.append(position)
                wanted = next(chosen, None)
            number += 1
            if wanted is None and bad is None:
                break
    outputs = [
        output_of(lines, folder, len(places)),
        write_array(ends, [np.array(places, "<u8")], folder),
    ]
    return outputs + ([output_of(rejects, folder, rejected)] if task.settings.rejects else []), {}


def part_unit(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """Write one part of the result."""
    task = msgspec.convert(unit.task, PartTask)
    path = folder / task.part
    opened: dict[int, tuple[mmap, Any]] = {}
    rows = map_array(folder / WORK / "plan", PLAN)[task.start : task.stop]
    waiting: list[bytes] = []  # a call of zstd costs as much as a short document
    with ExitStack() as stack, open_output(path, force=True) as out:
        for number, place, epoch in rows.tolist():
            if number not in opened:
                opened[number] = _open_lines(stack, folder / WORK / task.measured[number])
            lines, ends = opened[number]
            line = lines[int(ends[place - 1]) if place else 0 : int(ends[place])]
            waiting.append(_of_epoch(line, epoch) if epoch else line)
            if len(waiting) >= _AT_ONCE:
                out.write(b"".join(waiting))
                waiting.clear()
        out.write(b"".join(waiting))
    return [output_of(path, folder, len(rows))], {}


def rejects_of(folder: Path, measured: str) -> Path:
    """Where the rejects of a unit are until they are put together."""
    return folder / WORK / f"{measured}.rejects"


def taken_record(document: Document, source: str) -> Record:
    """A document as it is written: with an id and a source where it had none, and its history."""
    record = with_id(document.record, document.id)
    if bytes(record.get("source", b"null")) == b"null":
        record = {**record, "source": raw(source)}
    return with_history(record, STAGE, source=source)


def _of_epoch(line: bytes, epoch: int) -> bytes:
    """The line of a document that comes again, which its history says."""
    record = msgspec.json.decode(line, type=Record)
    return encode_line(with_latest(record, epoch=epoch + 1))


def _rejected(document: Document | BadLine, verdict: Verdict | None) -> Record:
    """A document that is not for this mixture, and why."""
    if isinstance(document, BadLine):
        return reject_record(document, STAGE)
    assert verdict is not None
    why = {"stage": STAGE, **msgspec.structs.asdict(verdict), "file": document.file, "line": document.line}
    return {**document.record, "_reject": raw(why)}


def _open_lines(stack: ExitStack, stem: Path) -> tuple[mmap, Any]:
    stream = stack.enter_context(stem.with_suffix(".lines").open("rb"))
    ends = map_array(stem.with_suffix(".ends"), np.dtype("<u8"))
    return stack.enter_context(mmap(stream.fileno(), 0, access=ACCESS_READ)), ends
