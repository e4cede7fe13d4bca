"""Bounds of settings: a number outside them is refused by its name. None is one that is not set."""

from llmkit.errors import ConfigError


def require_at_least(name: str, value: int | None, least: int) -> None:
    """Refuse a number below `least`.

    Raises:
        ConfigError: it is below.
    """
    if value is not None and value < least:
        raise ConfigError(f"{name} is not at least {least} (found {value})", hint=f"change {name}")


def require_positive(name: str, value: float | None) -> None:
    """Refuse a number that is not above 0.

    Raises:
        ConfigError: it is not.
    """
    if value is not None and not value > 0:
        raise ConfigError(f"{name} is not above 0 (found {value})", hint=f"change {name}")


def require_part(name: str, value: float) -> None:
    """Refuse what is no part of a whole.

    Raises:
        ConfigError: it is not above 0, or above 1.
    """
    if not 0 < value <= 1:
        raise ConfigError(f"{name} is not above 0 and at most 1 (found {value})", hint=f"change {name}")
