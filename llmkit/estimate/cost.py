"""What tokens cost, and how many devices a crowd of users takes. Prices are the caller's: they age."""

from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Literal

import msgspec

from llmkit.errors import ConfigError, nearest
from llmkit.estimate.bounds import require_part, require_positive
from llmkit.estimate.devices import positive_number, read_toml

HOURS_A_MONTH = 730
"""365 days of 24 hours, in twelve parts."""


def cost_per_million_tokens(
    price_per_hour: float, tokens_per_second: float, *, utilisation: float = 1.0
) -> float:
    """Price of a million tokens, in the currency of price_per_hour.

    Args:
        price_per_hour: of all devices that make these tokens together.
        tokens_per_second: while they are busy: of a whole batch for output, of prefill for prompts.
        utilisation: part of the hour in which they are.

    Raises:
        ConfigError: a number is not above 0, or utilisation is above 1.
    """
    require_positive("price_per_hour", price_per_hour)
    require_positive("tokens_per_second", tokens_per_second)
    require_part("utilisation", utilisation)
    return price_per_hour * 1_000_000 / (3600 * tokens_per_second * utilisation)


class FleetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A crowd of users, and what one replica of the model can do for them.

    Raises:
        ConfigError: a number is out of range.
    """

    users: int
    concurrency: float
    """Part of the users that wait for tokens at the same time, at the busiest hour."""
    tokens_per_second_per_user: float
    """That each of these is to get."""
    replica_tokens_per_second: float
    """Of one replica, for a batch of `replica_sessions`."""
    replica_sessions: int
    """That one replica decodes together: no more than fit into its memory."""
    replica_gpus: int = 1
    utilisation: float = 1.0
    """Part of a replica's tokens a second that is planned with: the rest is for prompts and for peaks."""
    price_per_hour: float | None = None
    """Of one device."""

    def __post_init__(self) -> None:
        for name in (
            *("users", "tokens_per_second_per_user", "replica_tokens_per_second"),
            *("replica_sessions", "replica_gpus"),
        ):
            require_positive(name, getattr(self, name))
        for name in ("concurrency", "utilisation"):
            require_part(name, getattr(self, name))
        require_positive("price_per_hour", self.price_per_hour)


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """What the crowd takes."""

    sessions: int
    """At once, at the busiest hour."""
    tokens_per_second: float
    """That all of them want."""
    replicas: int
    gpus: int
    bound: Literal["sessions", "tokens"]
    """What asks for so many replicas: sessions to hold, or tokens to make."""
    cost_per_hour: float | None
    cost_per_month: float | None
    """Of 730 hours, in the currency of the price; None without one."""


def plan_fleet(settings: FleetSettings) -> Fleet:
    """Replicas, devices and their cost for a crowd of users.

    A replica is one model on its devices. There are enough to hold all sessions of the busiest hour, and
    enough to make the tokens that these want.
    """
    sessions = ceil(round(settings.users * settings.concurrency, 9))  # 1000 x 0.07 is 70, not 71
    wanted = sessions * settings.tokens_per_second_per_user
    to_hold = ceil(sessions / settings.replica_sessions)
    made = settings.replica_tokens_per_second * settings.utilisation
    to_make = ceil(round(wanted / made, 9))
    replicas = max(to_hold, to_make)
    gpus = replicas * settings.replica_gpus
    hourly = None if settings.price_per_hour is None else gpus * settings.price_per_hour
    return Fleet(
        sessions=sessions,
        tokens_per_second=wanted,
        replicas=replicas,
        gpus=gpus,
        bound="tokens" if to_make > to_hold else "sessions",
        cost_per_hour=hourly,
        cost_per_month=None if hourly is None else hourly * HOURS_A_MONTH,
    )


def load_prices(path: Path) -> dict[str, float]:
    """Prices of one device for an hour, from a TOML file of `device = NUMBER` lines.

    Raises:
        MissingError: there is no such file.
        DataError: it is no TOML.
        ConfigError: a price is not a number above 0.
    """
    return {key: positive_number(value, key, str(path)) for key, value in read_toml(path).items()}


def find_price(key: str, prices: Mapping[str, float]) -> float:
    """The price of a device, its name in capitals or not.

    Raises:
        ConfigError: the table has none.
    """
    lowered = {known.lower(): price for known, price in prices.items()}
    if (price := lowered.get(key.lower())) is not None:
        return price
    guess = nearest(key.lower(), lowered)
    raise ConfigError(
        f"no price for {key!r}" + (f" (prices: {', '.join(prices)})" if prices else ""),
        hint=f"did you mean {guess}?" if guess else f"add a line to the table of prices: {key} = NUMBER",
    )
