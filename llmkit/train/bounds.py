"""Bounds of settings: a value outside them is refused by the name of its flag."""

import math

from llmkit.errors import ConfigError


def check_bounds(
    name: str,
    value: float | None,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
) -> None:
    """Refuse what is out of bounds, and what is no finite number; None is neither.

    Args:
        name: of the setting.
        value: of it.
        low, above, high, below: it is at least `low`, more than `above`, at most `high`, less than `below`.

    Raises:
        ConfigError: it is not.
    """
    if value is None:
        return
    wanted = [] if math.isfinite(value) else ["finite"]
    if low is not None and not value >= low:
        wanted.append(f"at least {low}")
    if above is not None and not value > above:
        wanted.append(f"above {above}")
    if high is not None and not value <= high:
        wanted.append(f"at most {high}")
    if below is not None and not value < below:
        wanted.append(f"below {below}")
    if wanted:
        flag = flag_of(name)
        raise ConfigError(f"{flag} must be {' and '.join(wanted)} (found {value})", hint=f"change {flag}")


def flag_of(name: str) -> str:
    """The flag of a setting."""
    return "--max-time" if name == "max_seconds" else f"--{name.replace('_', '-')}"
