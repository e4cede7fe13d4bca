"""Settings of what is asked of attention: torch-free, so that flags can show their defaults."""

from dataclasses import dataclass
from typing import Literal

AblateBy = Literal["zero", "mean"]
"""What stands in the place of a head that is taken out: nothing, or its mean over the text."""


@dataclass(frozen=True, kw_only=True)
class StatisticsConfig:
    """What the statistics of a head take as given."""

    local_window: int = 10
    """Positions, its own included, that count as near a query."""
    by_value_norm: bool = True
    """Also weigh attention with what its values can do to the stream: as long again as a projection."""


@dataclass(frozen=True, kw_only=True)
class HeadClasses:
    """From which figure on a head has a name. Shares of attention, unless said otherwise."""

    sink: float = 0.3
    """Mean weight on the first key: epsilon of Gu et al. 2024, arXiv:2410.10781."""
    previous_token: float = 0.4
    """`detect_head`'s measure mul."""
    duplicate: float = 0.4
    """The same."""
    induction: float = 0.4
    """Of the stripe on repeated random tokens where it was measured, else of `detect_head`'s measure mul."""
    current_token: float = 0.4
    """Mean weight on each query's own position."""
    local: float = 0.8
    """Mean weight within the local window."""
    local_windows: int = 4
    """Local windows that a text must have: in one of 4, looking everywhere alike has a local mass of 0.6."""
    uniform: float = 0.9
    """Mean entropy over that of looking everywhere alike."""
