"""Event files that TensorBoard reads, written without it: TFRecord frames around a few protobuf fields.

A frame is a length (u64), its checksum, the message, and the message's checksum. A checksum is CRC-32C,
masked as tensorflow/core/lib/hash/crc32c.h has it; the fields are those of tensorflow/core/util/event.proto.
"""

import os
import socket
import struct
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from llmkit.formats.json_text import is_number

_POLYNOMIAL = 0x82F63B78
_VERSION = b"brain.Event:2"
_START = 1
"""SessionLog.START: a reader drops what it has from this step on."""
_SKIPPED = frozenset({"step", "time_seconds", "event", "tokens", "units"})
_EVENT_TAGS = {"eval": "valid", "checkpoint": "checkpoint"}


def _byte_sum(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_SUMS = tuple(map(_byte_sum, range(256)))


_PREFIX = "events.out.tfevents."


class EventsWriter:
    """Writes the records of a run as TensorBoard's scalars, each at once, into a file of its own.

    Args:
        folder: created; may hold the files of earlier calls.
        step: the run goes on from; what was written of later steps counts no more.
    """

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{_PREFIX}{_moment(folder):019d}.{socket.gethostname()}.{os.getpid()}"
        self._stream = (folder / name).open("xb", buffering=0)
        self._frame(_tagged(1, struct.pack("<d", time.time())) + _text(3, _VERSION))
        if step:
            self._start_after(step)

    def write(self, record: dict[str, Any]) -> None:
        """The numbers of a record, under `train/`, or under the name of its event; others are passed over.

        Where the run went back to a step, what was written of later ones counts no more.
        """
        if record.get("event") == "rewind":
            self._start_after(record["step"])
        values = scalars(record)
        if values:
            summary = b"".join(
                _text(1, _text(1, tag.encode()) + _tagged(2, struct.pack("<f", value)))
                for tag, value in values.items()
            )
            self._frame(_event(record["step"]) + _text(5, summary))

    def __enter__(self) -> "EventsWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def _start_after(self, step: int) -> None:
        self._frame(_event(step + 1) + _text(7, _number(1, _START)))

    def _frame(self, message: bytes) -> None:
        length = struct.pack("<Q", len(message))
        self._stream.write(length + _masked(length) + message + _masked(message))


def _moment(folder: Path) -> int:
    """Microseconds since 1970, or more: files are read in the order of names, and a clock may go back."""
    others = (path.name.removeprefix(_PREFIX).partition(".")[0] for path in folder.glob(f"{_PREFIX}*"))
    return max([time.time_ns() // 1000, *(int(one) + 1 for one in others if one.isdigit())])


def scalars(record: dict[str, Any]) -> dict[str, float]:
    """A record of the metrics by tag: `train/loss`, `valid/loss`, `gradient/layers.0`."""
    event = record.get("event")
    if event == "norms":
        return {
            f"{what}/{layer['name']}": float(value)
            for layer in record["layers"]
            for what, value in layer.items()
            if is_number(value)
        }
    if event is not None and event not in _EVENT_TAGS:
        return {}
    prefix = "train" if event is None else _EVENT_TAGS[event]
    return {
        f"{prefix}/{name.removeprefix('valid_')}": float(value)
        for name, value in record.items()
        if name not in _SKIPPED and is_number(value)
    }


def crc32c(content: bytes) -> int:
    """CRC-32 by Castagnoli's polynomial (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ _SUMS[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _masked(content: bytes) -> bytes:
    crc = crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _event(step: int) -> bytes:
    return _tagged(1, struct.pack("<d", time.time())) + _number(2, step)


def _tagged(field: int, content: bytes) -> bytes:
    """A field of fixed width: eight bytes (wire type 1) or four (5)."""
    return _varint(field << 3 | (1 if len(content) == 8 else 5)) + content


def _text(field: int, content: bytes) -> bytes:
    """A field of bytes, or a message in one."""
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
