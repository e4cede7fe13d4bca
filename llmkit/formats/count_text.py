"""Counts as people read them."""


def format_count(count: float) -> str:
    """`1.23M`: for people; reports carry whole counts."""
    for suffix in ("", "k", "M", "G"):
        if abs(count) < 999.5:  # from there on three digits round to 1000
            return f"{count:.0f}" if not suffix else f"{count:.3g}{suffix}"
        count /= 1000
    return f"{count:.3g}T"
