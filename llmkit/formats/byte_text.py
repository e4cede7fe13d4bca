"""Sizes in bytes as people read them."""


def format_bytes(count: float) -> str:
    """`1.5 GiB`: for people; reports carry whole bytes."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1023.95:  # from there on one decimal rounds to 1024.0
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
