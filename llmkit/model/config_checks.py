"""What no shape of a model may have, refused by name. No torch."""

from collections.abc import Collection

from llmkit.errors import ConfigError, nearest

MOST_LAYERS = 10_000
"""Beyond this a number of layers is a mistake, or that of a damaged file."""


def check_whole(name: str, value: object) -> None:
    """Refuse what is no possible size.

    Raises:
        ConfigError: names it.
    """
    if not isinstance(value, int) or value < 1:
        raise ConfigError(
            f"{name} is not a whole number of at least 1 (found {value!r})", hint=f"change {name}"
        )


def check_layers(count: int) -> None:
    """Refuse more layers than any model has: each has a place of its own in lists.

    Raises:
        ConfigError: says how many may be.
    """
    if count > MOST_LAYERS:
        raise ConfigError(
            f"num_hidden_layers is not a possible number, which ends at {MOST_LAYERS} (found {count})",
            hint="change num_hidden_layers",
        )


def check_number(name: str, value: object) -> None:
    """Refuse what is no finite number of at least 0.

    Raises:
        ConfigError: names it.
    """
    if not is_number(value):
        raise ConfigError(f"{name} is not a number of at least 0 (found {value!r})", hint=f"change {name}")


def is_number(value: object) -> bool:
    """Whether it is finite, and 0 or more."""
    return isinstance(value, int | float) and 0 <= value < float("inf")


def check_activation(key: str, found: str, known: Collection[str]) -> None:
    """Refuse the name of an activation that is not known.

    Raises:
        ConfigError: names the key, and the one that may be meant.
    """
    if found not in known:
        guess = nearest(str(found), known)
        raise ConfigError(
            f"{key} {found!r} is not supported (known: {', '.join(known)})",
            hint=f"did you mean {guess}?" if guess else "use one of these",
        )
