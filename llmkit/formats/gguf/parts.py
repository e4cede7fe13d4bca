"""The files of one GGUF model: one, or several by the names NAME-00001-of-0000N.gguf.

The first has the metadata, and is the one to be named; of the others only the tensors count. Each says which
it is (split.no, from 0), of how many (split.count), and how many tensors all have (split.tensors.count).
Source: llama.cpp's tools/gguf-split and src/llama-model-loader.cpp.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from llmkit.errors import DataError, MissingError
from llmkit.formats.gguf.header import GgufHeader, read_gguf_header

NUMBER, COUNT, TENSORS = "split.no", "split.count", "split.tensors.count"
_NAME = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


@dataclass(frozen=True)
class GgufPart:
    """One file, and what its header says."""

    path: Path
    header: GgufHeader


def read_gguf_parts(path: Path) -> tuple[GgufPart, ...]:
    """All files of a model by their headers, in order: the file itself where it is whole.

    Args:
        path: of the file, or of the first of several.

    Raises:
        MissingError: one of them is not there.
        DataError: a header is damaged, the file is not the first, its name does not lead to the others, or
            they are not of one model.
    """
    first = GgufPart(path, read_gguf_header(path))
    count = _whole(first, COUNT, 1)
    if count in (0, 1):  # as many writers say it of a whole file
        return (first,)
    parts = (first, *(_read(one, first) for one in _paths(first, count)[1:]))
    for number, part in enumerate(parts):
        if (_whole(part, NUMBER, -1), _whole(part, COUNT, 1)) != (number, count):
            _fail(part.path, f"by its own keys it is not part {number + 1} of {count}")
    _check_tensors(parts)
    return parts


def name_of(path: Path) -> str:
    """What a model is called after its folder, its file, or the first of its files."""
    name = path.resolve().name
    part = _NAME.fullmatch(name)
    return name.removesuffix(".gguf") if part is None else part["stem"]


def is_part_name(path: Path) -> bool:
    """Whether a path is named as one of several files."""
    return _NAME.fullmatch(path.name) is not None


def joined_header(parts: Sequence[GgufPart]) -> GgufHeader:
    """The first file's header with the tensors of all; each's offset is that in its own file."""
    first = parts[0].header
    return replace(first, tensors=tuple(one for part in parts for one in part.header.tensors))


def _paths(first: GgufPart, count: int) -> list[Path]:
    path = first.path
    name = _NAME.fullmatch(path.name)
    if name is None or int(name["count"]) != count:
        raise DataError(
            f"{path}: one of {count} files that are one model, and its name does not lead to the others",
            hint=f"give all of them their names back, the first NAME-00001-of-{count:05d}.gguf",
        )
    paths = [path.with_name(f"{name['stem']}-{one + 1:05d}-of-{count:05d}.gguf") for one in range(count)]
    if path != paths[0]:
        raise DataError(
            f"{path}: part {int(name['number'])} of {count} files that are one model",
            hint=f"name the first: {paths[0]}",
        )
    return paths


def _read(path: Path, first: GgufPart) -> GgufPart:
    if not path.is_file():
        raise MissingError(
            f"{path}: no such file, and {first.path.name} is not the whole model",
            hint="put all files of the model into one folder, by the names they were published under",
        )
    return GgufPart(path, read_gguf_header(path))


def _check_tensors(parts: Sequence[GgufPart]) -> None:
    """Each is in one file only, and none is missing."""
    where: dict[str, Path] = {}
    for part in parts:
        for tensor in part.header.tensors:
            if tensor.name in where:
                _fail(part.path, f"it has {tensor.name}, and so has {where[tensor.name].name}")
            where[tensor.name] = part.path
    told = _whole(parts[0], TENSORS, len(where))
    if told != len(where):
        _fail(parts[0].path, f"{TENSORS} says {told}, and the {len(parts)} files have {len(where)}")


def _whole(part: GgufPart, key: str, default: int) -> int:
    value = part.header.metadata.get(key, default)
    if not isinstance(value, int):
        _fail(part.path, f"{key} is {value!r}, and it must be a whole number")
    return value


def _fail(path: Path, problem: str) -> NoReturn:
    raise DataError(f"{path}: {problem}", hint="fetch all files of the model again")
