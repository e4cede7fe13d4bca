"""SHA-256 digests: of bytes, of text, of files and of whole folders."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path


def digest_bytes(content: bytes) -> str:
    """Hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def digest_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read a block at a time."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_path(path: Path) -> str:
    """SHA-256 of a file, or of a folder's relative names and file digests in sorted order."""
    if path.is_file():
        return digest_file(path)
    names = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        name = os.fsencode(file.relative_to(path).as_posix())  # which need not be UTF-8
        names.update(name + f"\0{digest_file(file)}\n".encode())
    return names.hexdigest()


def digest_files(paths: Iterable[Path]) -> str:
    """SHA-256 of the digests of some files, one after the other."""
    return digest_bytes("".join(map(digest_file, paths)).encode())


def digest_inputs(paths: Iterable[Path], digest: Callable[[Path], str] = digest_path) -> dict[str, str]:
    """The digest of each input by its bare name, for `llmkit.json`; a name that comes again is numbered."""
    digests: dict[str, str] = {}
    times: Counter[str] = Counter()
    for path in paths:
        name = path.name or path.resolve().name
        times[name] += 1
        again = f" ({times[name]})" if times[name] > 1 else ""
        digests[name + again] = digest(path)
    return digests


def content_id(text: str) -> str:
    """The id of a document that came without one: the first 16 hex digits of its text's SHA-256."""
    return digest_bytes(text.encode())[:16]
