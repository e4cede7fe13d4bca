"""Names for what heads do, where their figures pass thresholds that are stated."""

from typing import Literal

from llmkit.probe.attention.config import HeadClasses
from llmkit.probe.attention.statistics import HeadStatistics

HeadClass = Literal["sink", "previous_token", "duplicate", "induction", "current_token", "local", "uniform"]
HEAD_CLASSES: tuple[HeadClass, ...] = (
    *("sink", "previous_token", "duplicate", "induction"),
    *("current_token", "local", "uniform"),
)


def class_scores(statistics: HeadStatistics, *, stripe: float | None = None) -> dict[HeadClass, float]:
    """The figure that decides on each name.

    Args:
        statistics: of one head over one text.
        stripe: of the same head over repeated random tokens (`induction_stripe`): it decides on induction,
            for a text that repeats little tells little. None: the text decides.
    """
    return {
        "sink": statistics.bos_mass,
        "previous_token": statistics.previous.score(),
        "duplicate": statistics.duplicate.score(),
        "induction": statistics.induction.score() if stripe is None else stripe,
        "current_token": statistics.current_token,
        "local": statistics.local_mass,
        "uniform": statistics.normalised_entropy,
    }


def classify(
    statistics: HeadStatistics, config: HeadClasses | None = None, *, stripe: float | None = None
) -> list[HeadClass]:
    """Names of one head in the order of HEAD_CLASSES; several may hold, or none.

    In a text of few local windows everything is near, so no head of it is called local.

    Args:
        statistics: of one head over one text.
        config: from which figure on.
        stripe: see `class_scores`.
    """
    limits = config or HeadClasses()
    scores = class_scores(statistics, stripe=stripe)
    found = [name for name in HEAD_CLASSES if scores[name] >= getattr(limits, name)]
    if statistics.tokens < limits.local_windows * statistics.local_window and "local" in found:
        found.remove("local")
    return found
