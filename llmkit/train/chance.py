"""Chance in an update, which dropout alone draws from: it follows from where the update is.

So a checkpoint keeps no state of a generator, and a run that is resumed draws what it would have drawn.
"""

import hashlib

import torch


def seed_update(seed: int, step: int, share: int) -> None:
    """Begin PyTorch's generators anew, of the CPU and of every device.

    Args:
        seed: of the run.
        step: of the update, the first being 0.
        share: which part of the batch this process has: each draws for itself.
    """
    digest = hashlib.sha256(f"{seed} {step} {share}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
