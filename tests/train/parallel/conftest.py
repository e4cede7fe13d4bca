"""Several connected processes, and `runs`, which they import."""

import sys
from pathlib import Path

from tests.connected import on_ranks

__all__ = ["on_ranks"]

sys.path.append(str(Path(__file__).parent))
