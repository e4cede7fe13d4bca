"""Bytes and counts as people read them; reports carry whole ones."""


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
