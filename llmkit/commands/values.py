"""Counts, sizes, shares and times: as people type them, and as they read them."""

import math
import re
from decimal import Decimal

from typer import BadParameter

from llmkit.formats.amount_text import format_bytes as format_bytes
from llmkit.formats.amount_text import format_count as format_count

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_NUMBER = re.compile(
    r"(?P<number>[0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*(?P<suffix>[kmgt]?)(?P<binary>i?)(?P<unit>b?)", re.I
)
_THOUSANDS = re.compile(r"[0-9]{1,3}(,[0-9]{3})+([^0-9,][^,]*)?")
_COUNT = "a number such as 512, 64k, 64Ki, 2M, 24GiB or 1e9"
_MOST_DIGITS = 30
MOST_AT_ONCE = 4096
"""Threads or processes: no machine has more of use, and PyTorch fails on numbers that no C int holds."""
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_TIME = re.compile(r"(?P<number>[0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*(?P<unit>[smhd]?)", re.I)


def parse_count(text: str | float) -> int:
    """A whole number: `512`, `64k` = 64,000, `64Ki` = 65,536, `2M`, `1.5G`, `24GiB`, `1e9`.

    k, M, G and T are powers of 1000, Ki, Mi, Gi and Ti powers of 1024; a B (bytes) may follow one of them.

    Args:
        text: as typed; or what a settings file has there, of whatever type: 1e9 is a float in TOML.

    Raises:
        BadParameter: not a number, below 0, an unknown suffix, or not whole; 7B, which of tokens is seven
            billion and of memory seven bytes.
    """
    return _whole(text, is_size=False)


def parse_size(text: str | float) -> int:
    """The same of bytes: `512B` too."""
    return _whole(text, is_size=True)


def _whole(text: str | float, *, is_size: bool) -> int:
    if not is_typed(text):
        raise BadParameter(f"{text!r} is not {_COUNT}")
    if isinstance(text, int | float):
        if not text >= 0:
            raise BadParameter(f"{text!r} is not {_COUNT}")
        if not text < math.inf or text != int(text):
            raise BadParameter(f"{text!r} is not a whole number")
        return int(text)
    typed = text.strip().replace("_", "")
    if "," in typed and not _THOUSANDS.fullmatch(typed):  # 1,5k of a German keyboard is not 15,000
        raise BadParameter(
            f"{text!r}: a comma parts thousands, as in 1,500, and a point decimals, as in 1.5k"
        )
    match = _NUMBER.fullmatch(typed.replace(",", ""))
    if match is None or (match["binary"] and not match["suffix"]):
        raise BadParameter(f"{text!r} is not {_COUNT}")
    if match["unit"] and not match["suffix"] and not is_size:
        raise BadParameter(f"{text!r} may be bytes or billions; {match['number']}G is billions")
    number = Decimal(match["number"])  # exact, where a float is not
    if number.adjusted() > _MOST_DIGITS:
        raise BadParameter(f"{text!r} is beyond all counting")
    value = number * (1024 if match["binary"] else 1000) ** _POWERS[match["suffix"].lower()]
    if value != int(value):
        raise BadParameter(f"{text!r} is not a whole number")
    return int(value)


def short_count(count: int) -> str:
    """A whole number as `parse_count` takes it, with a suffix where it is a round one of 10,000 and more."""
    for base, mark in ((1000, ""), (1024, "i")):
        for power, suffix in ((4, "T"), (3, "G"), (2, "M"), (1, "k" if base == 1000 else "K")):
            if count >= 10_000 and count % base**power == 0:
                return f"{count // base**power}{suffix}{mark}"
    return str(count)


class ShownCount(int):
    """A default that --help shows as it may be typed; `parse_count` makes a plain number of it."""

    def __str__(self) -> str:
        return short_count(int(self))


def is_typed(value: object) -> bool:
    """Whether it is text or a number: TOML has lists, tables, times, and a true that Python counts as 1."""
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def parse_finite(text: str | float) -> float:
    """A number that is not infinite and not nan: a bound that something can be held to.

    Raises:
        BadParameter: not one.
    """
    try:
        value = float(text) if is_typed(text) else None
    except ValueError:
        value = None
    if value is None:
        raise BadParameter(f"{text!r} is not a number such as 3.5")
    if not math.isfinite(value):
        raise BadParameter(f"{text!r} is not a finite number")
    return value


def read_share(text: str | float) -> float:
    """`10%` or `0.1`.

    Raises:
        ValueError: neither.
    """
    return float(text.removesuffix("%")) / 100 if isinstance(text, str) and "%" in text else float(text)


def parse_share(text: str | float) -> float:
    """`10%` or `0.1`, from none of it to all.

    Raises:
        BadParameter: not a share from 0 to 1.
    """
    try:
        value = read_share(text) if is_typed(text) else None
    except ValueError:
        value = None
    if value is None:
        raise BadParameter(f"{text!r} is not a share such as 10% or 0.1")
    if not 0 <= value <= 1:
        raise BadParameter(f"{text!r} is not between 0 and 100%")
    return value


def parse_seconds(text: str | float) -> float:
    """A length of time in seconds: `90`, `90s`, `30m`, `8h`, `2d`.

    Raises:
        BadParameter: not a number with one of these units, or one that never ends.
    """
    if not is_typed(text):
        value = math.nan
    elif isinstance(text, int | float):
        value = float(text)
    elif match := _TIME.fullmatch(text.strip()):
        value = float(match["number"]) * _SECONDS[match["unit"].lower()]
    else:
        value = math.nan
    if not 0 <= value < math.inf:
        raise BadParameter(f"{text!r} is not a time such as 90s, 30m, 8h or 2d")
    return value


def format_size(nbytes: int) -> str:
    """`1.5 GiB (1,610,612,736 bytes)`."""
    return f"{format_bytes(nbytes)} ({nbytes:,} bytes)"


def format_need(needed: int, there: int | None, word: str) -> str:
    """`1.0 GiB of 16.0 GiB available`; without the second half where nobody knows what is there.

    Args:
        needed: bytes.
        there: bytes.
        word: what those there are: available, free.
    """
    return format_bytes(needed) + (f" of {format_bytes(there)} {word}" if there is not None else "")


def format_seconds(seconds: float) -> str:
    """`2 h 05 m`, `3 m 20 s`, `1.4 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} m" if hours else f"{minutes} m {rest:02d} s"


def format_left(begun: tuple[float, float] | None, now: tuple[float, float], total: float) -> str:
    """`  3 m 20 s left`: what the rest takes at the pace so far; nothing while there is none.

    Args:
        begun: when the work began, in seconds, and what was done then.
        now: the same of now.
        total: what there is to do.
    """
    if begun is None or now[1] <= begun[1]:
        return ""
    pace = (now[0] - begun[0]) / (now[1] - begun[1])
    return f"  {format_seconds(pace * (total - now[1]))} left"
