"""What pages owe people who see little or use no pointer: contrast as WCAG 2.2 defines it, and main parts."""

import re
from html.parser import HTMLParser

Color = tuple[float, ...]


def color(text: str) -> Color:
    """Red, green and blue of #rgb or #rrggbb."""
    digits = text[1:] if len(text) == 7 else "".join(2 * digit for digit in text[1:])
    return tuple(int(digits[at : at + 2], 16) for at in (0, 2, 4))


def over(front: Color, behind: Color, alpha: float) -> Color:
    """What is seen where a colour lets another through."""
    return tuple(alpha * one + (1 - alpha) * other for one, other in zip(front, behind, strict=True))


def contrast(one: Color, other: Color) -> float:
    """1 for the same, 21 for black on white; letters need 4.5."""

    def luminance(parts: Color) -> float:
        shares = [part / 255 for part in parts]
        red, green, blue = (
            share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def schemes(page: str) -> list[dict[str, str]]:
    """The colours by name that a page's style has in the light, and in the dark."""
    return [dict(re.findall(r"--(\w+): ([^;}]+)", one)) for one in re.findall(r":root \{([^}]+)\}", page)]


def outside_of_main(page: str) -> list[str]:
    """Elements of the body that are in no main part, but for scripts: who jumps to it misses them."""

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.depth = 0
            self.in_body = False
            self.found: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "main" or self.depth:
                self.depth += tag == "main"
            elif self.in_body and tag != "script":
                self.found.append(tag)
            self.in_body |= tag == "body"

        def handle_endtag(self, tag: str) -> None:
            self.depth -= tag == "main"

    reader = Reader()
    reader.feed(page)
    return reader.found
