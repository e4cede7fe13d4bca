"""What processes started anew go on from: what this launch has saved, not what stood there before."""

import os
from pathlib import Path

from llmkit.formats.checkpoint import checkpoint_folders
from llmkit.machine import started_at
from llmkit.train.config import Resume
from llmkit.workflows.run.ranks import was_restarted


def resume_now(out: Path, resume: Resume) -> Resume:
    """How to begin in a run folder, where the processes may have been started anew after one was lost.

    A run that was to start over goes on from its own checkpoints. Those that are older than the launch are of
    the run that it replaces.

    Args:
        out: the folder.
        resume: as asked for.
    """
    if not was_restarted():
        return resume
    launched = started_at(os.getppid())  # of our launcher, or of torchrun's agent
    if resume == "never" and (launched is None or not _saved_since(out, launched)):
        return "never"
    return "auto"


def _saved_since(out: Path, moment: float) -> bool:
    return any(folder.stat().st_mtime > moment for folder in checkpoint_folders(out))
