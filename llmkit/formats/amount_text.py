"""Bytes and counts as people read them, where reports carry whole ones; and round steps of an axis."""

import math


def format_bytes(count: float) -> str:
    """`1.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1023.95:  # from there on one decimal rounds to 1024.0
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def format_count(count: float) -> str:
    """`1.23M`."""
    for suffix in ("", "k", "M", "G"):
        if abs(count) < 999.5:  # from there on three digits round to 1000
            return f"{count:.0f}" if not suffix else f"{count:.3g}{suffix}"
        count /= 1000
    return f"{count:.3g}T"


def plural(count: int, noun: str) -> str:
    """`1 layer`, `2 layers`, `1,000 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten: the smallest that is at least `least`, give or take a thousandth."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * 0.999)
