"""How many of several tries are right: pass@k."""

import math
from collections.abc import Sequence

from llmkit.errors import UsageError


def pass_at_k(samples: int, right: int, k: int) -> float:
    """The chance that one of k samples is right, estimated from more: 1 - C(n - c, k) / C(n, k).

    Unbiased, where 1 - (1 - c / n)^k is not (Chen et al. 2021, arXiv:2107.03374, equation 1).

    Args:
        samples: n, how many there are.
        right: c of them.
        k: at most n.

    Raises:
        ValueError: more right than there are, or k is beyond n.
    """
    if not 0 <= right <= samples or not 1 <= k <= samples:
        raise ValueError(f"{right} of {samples} right, k = {k}")
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)


def check_ks(ks: Sequence[int], samples: int) -> None:
    """Refuse a k that the samples cannot tell of.

    Raises:
        UsageError: it is below 1, or there are fewer samples.
    """
    for k in ks:
        if not 1 <= k <= samples:
            raise UsageError(
                f"--pass-at {k}: there are {samples} samples of each prompt", hint=f"--samples {max(k, 1)}"
            )
