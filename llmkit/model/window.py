"""What a layer with a sliding window sees."""


def first_position_seen(position: int, window: int | None, *, chunked: bool = False) -> int:
    """The first position of a text that one of its positions sees.

    Args:
        position: which.
        window: how many positions it sees at most, its own included; None for all before it.
        chunked: windows stand side by side, and it sees its own.
    """
    if window is None:
        return 0
    return position // window * window if chunked else max(0, position - window + 1)
