"""The division that measures share: a part of nothing is none of it."""


def ratio(part: float, whole: float) -> float:
    """part / whole, 0 where whole is 0."""
    return part / whole if whole else 0.0
