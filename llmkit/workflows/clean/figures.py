"""Figures of a report as people read them, the same in its text and in its page."""


def share_text(part: float, whole: float) -> str:
    """`12.3%`; a dash where there is no whole."""
    return f"{part / whole:.1%}" if whole else "-"


def value_text(value: float | str | None) -> str:
    """What a check found, to four digits where it is a number; nothing where it found nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.4g}"
