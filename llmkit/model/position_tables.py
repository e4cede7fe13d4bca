"""What positions do beside rotating: the sinusoids added to embeddings, how far a table goes, and how much
queries grow. No torch.
"""

from collections.abc import Sequence

import numpy as np

from llmkit.errors import UsageError
from llmkit.kernels.memory import Floats
from llmkit.model.config import ModelConfig


def sinusoids(length: int, width: int) -> Floats:
    """Sine in the even columns and cosine in the odd ones, wavelengths 2 pi to 20,000 pi (1706.03762).

    Returns:
        (length, width), rounded once.
    """
    frequency = 10_000.0 ** (-np.arange(0, width, 2) / width)
    angle = np.outer(np.arange(length), frequency)
    table = np.empty((length, width), dtype=np.float32)
    table[:, 0::2] = np.sin(angle)
    table[:, 1::2] = np.cos(angle)[:, : width // 2]
    return table


def query_scales(config: ModelConfig, positions: Sequence[int]) -> Floats:
    """What queries are multiplied with at each of these positions, where the config says that they grow.

    It keeps the softmax of long texts as sharp as that of short ones (2501.19399). Returns (positions,).
    """
    counted = np.array(positions, np.int64) + config.query_growth_unrotated
    steps = 1 + counted // config.query_growth_positions
    return 1 + np.float32(config.query_growth) * np.log(steps.astype(np.float32))


def check_room(config: ModelConfig, end: int) -> None:
    """Refuse positions that a table of positions does not hold; rotary ones, and none, have no such end.

    Raises:
        UsageError: `end` is beyond max_position_embeddings.
    """
    if config.position not in ("rope", "none") and end > config.max_position_embeddings:
        raise UsageError(
            f"{end} positions asked of a model that has {config.max_position_embeddings}",
            hint="use a shorter text, or a model with a longer context",
        )
