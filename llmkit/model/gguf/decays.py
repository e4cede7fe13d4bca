"""How fast states fade in GGUF files: -exp(A_log), and A_log again. No torch."""

import numpy as np

from llmkit.model.arrays import Array


def decays(logarithms: Array) -> Array:
    """-exp(A_log): in float64, since float32's own functions differ in the last digit."""
    if isinstance(logarithms, np.ndarray):
        return -np.exp(logarithms.astype(np.float64)).astype(np.float32)
    return -logarithms.double().exp().float()


def logarithms(decays: Array) -> Array:
    """A_log again; a NaN where a decay is none."""
    if isinstance(decays, np.ndarray):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(-decays.astype(np.float64)).astype(np.float32)
    return (-decays.double()).log().float()
