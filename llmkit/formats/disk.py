"""Room on a disk."""

import shutil
from pathlib import Path


def free_bytes(path: Path) -> int:
    """Bytes that can be written where `path` is, or will be once its folders are made."""
    folder = path.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
