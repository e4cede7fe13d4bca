"""What an importance matrix of llama.cpp's has seen."""

from pathlib import Path

import msgspec

from llmkit.formats.gguf.header import read_gguf_header
from llmkit.formats.gguf.imatrix import read_imatrix


class ImatrixReport(msgspec.Struct, frozen=True, kw_only=True):
    """An importance matrix in a GGUF file."""

    schema: str = "llmkit.show/1"
    kind: str = "imatrix"
    path: str
    datasets: list[str]
    """Names of the text, as the file has them."""
    chunks: int | None
    chunk_size: int | None
    """Tokens of a chunk."""
    matrices: int
    """Those of a stack count each."""
    unseen: int
    """Of them, those that no input has reached: experts, as a rule."""
    columns: int
    """Numbers in all."""
    size_bytes: int


def show_imatrix(path: Path) -> ImatrixReport:
    """An importance matrix in a GGUF file.

    Raises:
        DataError: it is damaged.
    """
    found = read_imatrix(path)
    told = read_gguf_header(path).metadata
    names = told.get("imatrix.datasets")
    chunks, chunk_size = (told.get(f"imatrix.{one}") for one in ("chunk_count", "chunk_size"))
    return ImatrixReport(
        path=str(path),
        datasets=[str(one) for one in names] if isinstance(names, list) else [],
        chunks=chunks if isinstance(chunks, int) else None,
        chunk_size=chunk_size if isinstance(chunk_size, int) else None,
        matrices=sum(len(one.counts) for one in found.values()),
        unseen=sum(int((one.counts <= 0).sum()) for one in found.values()),
        columns=sum(one.squares.size for one in found.values()),
        size_bytes=path.stat().st_size,
    )
