"""A GGUF model cut into several files: NAME-00001-of-0000N.gguf, the inverse of gguf/parts.py.

The first has the metadata and the first tensors, each further one some whole tensors; all say which they are
(split.no), of how many (split.count), and how many tensors there are (split.tensors.count).
Source: llama.cpp's tools/gguf-split.
"""

import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmkit.errors import UsageError
from llmkit.formats.amount_text import plural
from llmkit.formats.atomic import atomic_file, atomic_files
from llmkit.formats.gguf.parts import COUNT, NUMBER, TENSORS, is_part_name
from llmkit.formats.gguf.values import ALIGNMENT, MetadataValue, Typed
from llmkit.formats.gguf.write import GgufTensor, gguf_nbytes, write_gguf

MOST_FILES = 1 << 16
"""split.count has 16 bits."""
_SUFFIX = ".gguf"


@dataclass(frozen=True)
class GgufFile:
    """The content of one file."""

    metadata: Mapping[str, MetadataValue]
    tensors: Sequence[GgufTensor]

    @property
    def nbytes(self) -> int:
        """Of the whole file."""
        return gguf_nbytes(self.metadata, self.tensors)


def cut_gguf(
    metadata: Mapping[str, MetadataValue], tensors: Sequence[GgufTensor], max_bytes: int | None
) -> list[GgufFile]:
    """The files of a model, in order: one where all fits it.

    Args:
        metadata: of the model.
        tensors: in their order.
        max_bytes: of the tensors in a file, a larger tensor has one to itself; None: one file.

    Raises:
        UsageError: they are more files than GGUF counts.
    """
    runs: list[list[GgufTensor]] = [[]]
    filled = 0
    for tensor in tensors:
        if max_bytes is not None and runs[-1] and filled + tensor.nbytes > max_bytes:
            runs.append([])
            filled = 0
        runs[-1].append(tensor)
        filled += tensor.nbytes
    if len(runs) == 1:
        return [GgufFile(metadata, runs[0])]
    if len(runs) >= MOST_FILES:
        raise UsageError(
            f"--max-shard-size cuts the model into {plural(len(runs), 'file')}", hint="give a larger one"
        )
    shared = {key: metadata[key] for key in (ALIGNMENT,) if key in metadata}
    return [
        GgufFile(
            {
                **(shared if number else metadata),
                NUMBER: Typed("u16", number),
                COUNT: Typed("u16", len(runs)),
                TENSORS: Typed("i32", len(tensors)),
            },
            run,
        )
        for number, run in enumerate(runs)
    ]


def file_paths(out: Path, count: int) -> list[Path]:
    """What the files of a model are called: `out` itself, or NAME-00001-of-0000N.gguf beside it.

    Raises:
        UsageError: there are several, and `out` is named as one of several already.
    """
    if count == 1:
        return [out]
    if is_part_name(out):
        raise UsageError(
            f"{out}: named as one file of several, and numbers are added", hint="call the output NAME.gguf"
        )
    stem = out.name.removesuffix(_SUFFIX)
    return [out.with_name(f"{stem}-{one + 1:05d}-of-{count:05d}{_SUFFIX}") for one in range(count)]


def refuse_parts(out: Path, *, force: bool, inputs: Iterable[Path]) -> None:
    """Check, before the number of files is known, that no files of such names are there.

    Raises:
        UsageError: some are, and `force` is off; always where one is an input; or see `file_paths`.
    """
    file_paths(out, 2)
    stem = out.name.removesuffix(_SUFFIX)
    there = [one for one in out.parent.glob(f"{glob.escape(stem)}-*{_SUFFIX}") if is_part_name(one)]
    read = {path.resolve() for path in inputs}
    if own := [one for one in there if one.resolve() in read]:
        raise UsageError(f"{min(own)}: the output is also an input", hint="choose another name")
    if there and not force:
        raise UsageError(
            f"{min(there)}: already exists", hint="choose another name, or replace it with --force"
        )


@contextmanager
def atomic_gguf(out: Path, files: Sequence[GgufFile]) -> Iterator[Path]:
    """Write the files of a model; they appear, all of them, only when the block ends without an error.

    Args:
        out: see `file_paths`.
        files: see `cut_gguf`.

    Yields:
        the first file under a temporary name: a whole model already.

    Raises:
        DataError, ValueError: see `write_gguf`.
    """
    if len(files) == 1:
        with atomic_file(out) as stream:
            write_gguf(stream, files[0].metadata, files[0].tensors)
            stream.flush()
            yield Path(stream.name)
        return
    paths = file_paths(out, len(files))
    with atomic_files(out) as folder:
        for path, file in zip(paths, files, strict=True):
            with (folder / path.name).open("wb") as stream:
                write_gguf(stream, file.metadata, file.tensors)
        yield folder / paths[0].name
