"""Arrays that the units of `llmkit dedup` write for one another, whole or not at all."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from llmkit.formats.atomic import atomic_file
from llmkit.workflows.units import Output, output_of


def write_array(path: Path, parts: Iterable[NDArray[np.generic]], folder: Path) -> Output:
    """Write arrays one behind the other; the record of the file, its rows counted in items."""
    rows = 0
    with atomic_file(path) as stream:
        for part in parts:
            stream.write(np.ascontiguousarray(part).data)
            rows += len(part)
    return output_of(path, folder, rows)


@contextmanager
def open_parts(paths: Iterable[Path]) -> Iterator[list[BinaryIO]]:
    """Several files that appear together, when all are whole."""
    with ExitStack() as stack:
        yield [stack.enter_context(atomic_file(path)) for path in paths]
