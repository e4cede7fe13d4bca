"""What a layer with a sliding window sees."""


def first_position_seen(position: int, window: int | None) -> int:
    """The first position of a text that one of its positions sees.

    Args:
        position: which.
        window: how many positions it sees, its own included; None for all before it.
    """
    return 0 if window is None else max(0, position - window + 1)
