"""The code in a reply: what stands between its first pair of Markdown fences."""

import re

_OPENING = re.compile(r" {0,3}(?P<fence>`{3,}(?=[^`]*$)|~{3,})")


def first_code_block(text: str) -> str | None:
    """The content of the first fenced code block, with its line feeds; None where there is none.

    A block that is not closed goes to the end of the text, as CommonMark has it (section 4.5); one inside of
    a list or a quotation is found too where its fence is indented by less than four columns.
    """
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        opening = _OPENING.match(line.rstrip("\r\n"))
        if opening is None:
            continue
        fence = opening["fence"]
        closing = re.compile(rf" {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t]*[\r\n]*\Z")
        indent = len(line) - len(line.lstrip(" "))
        block = []
        for inside in lines[number + 1 :]:
            if closing.match(inside):
                break
            block.append(_outdented(inside, indent))
        return "".join(block)
    return None


def _outdented(line: str, most: int) -> str:
    """Without as many spaces at its beginning as the fence has."""
    return line[min(most, len(line) - len(line.lstrip(" "))) :]
