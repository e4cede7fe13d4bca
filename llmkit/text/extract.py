"""Text out of HTML, by two methods.

fast      resiliparse: the main content by simple signs, ~55 MB/s a core; keeps more than it should
precise   trafilatura: the main content by structure and density, ~5 MB/s a core; what FineWeb was made with

Both give paragraphs, headings and list items on lines of their own, paragraphs and headings with an empty
line between; cells of a table row stand on one line, tabs between them. Comments under an article are left
out. `llmkit.text.extract_process` runs these under a limit of time: neither is bounded by itself.
"""

import html as entities
import re
from typing import Any, Literal

from llmkit.errors import MissingError
from llmkit.formats.pages import HTML_TYPES
from llmkit.text.rule import Verdict

Method = Literal["fast", "precise"]
PACKAGES: dict[Method, str] = {"fast": "resiliparse", "precise": "trafilatura"}
WANTED_TYPES = (*HTML_TYPES, "text/plain", "")
_TITLE = re.compile(r"<title\b[^<>]{0,300}>([^<]{0,2000})", re.IGNORECASE)
_BLANKS = re.compile(r"\n(?:[ \t\r\f\v]*\n){2,}")
_LINE_END = re.compile(r"[ \t\r\f\v]+\n")
_SPACES = re.compile(r"[ \t\r\n\f\v]+")


def require_extractor(method: Method) -> None:
    """Check that the method's package is installed, without loading it.

    Raises:
        MissingError: it is not.
    """
    from importlib.util import find_spec

    if find_spec(PACKAGES[method]) is None:
        raise MissingError(
            f"--extract {method} needs the package {PACKAGES[method]}", hint="pip install 'llmkit[corpus]'"
        )


def judge_page(status: int | None, content_type: str) -> Verdict | None:
    """Whether a response is a page at all: its status is 200 and its content is HTML or plain text.

    Args:
        status: of HTTP; None where there was none.
        content_type: the media type in lower case; "" where nothing said it.
    """
    if status is not None and status != 200:
        return Verdict("http status", status, 200)
    if content_type not in WANTED_TYPES:
        return Verdict("content type", content_type, WANTED_TYPES[0])
    return None


def extract_text(html: str, method: Method) -> str:
    """The text of a page, "" where nothing in it is content; as long as that takes.

    Raises:
        Exception: whatever the library raises on a page that it cannot take.
    """
    text = _fast(html) if method == "fast" else _precise(html)
    return _BLANKS.sub("\n\n", _LINE_END.sub("\n", text)).strip()


def page_title(html: str) -> str:
    """The text of <title>, on one line; "" where there is none."""
    found = _TITLE.search(html)
    return _SPACES.sub(" ", entities.unescape(found.group(1))).strip() if found else ""


def _fast(html: str) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(html, main_content=True, preserve_formatting=True, alt_texts=False))


def _precise(html: str) -> str:
    from trafilatura import bare_extraction

    # `deduplicate` stays off: it remembers the pages before, and the text would depend on their order
    found = bare_extraction(html, favor_precision=True, include_comments=False, deduplicate=False)
    body = getattr(found, "body", None)
    if body is None:
        return ""
    blocks: list[str] = []
    _add_blocks(body, blocks)
    return "\n\n".join(block for block in blocks if block.strip())


_BLOCKS = ("p", "head", "quote", "code", "list", "table", "div")
_APART = ("p", "head", "quote", "list", "table", "div", "item", "row", "cell")  # no part of the word before


def _add_blocks(element: Any, blocks: list[str]) -> None:
    """Append the blocks in a container of trafilatura's tree; loose text beside them is a block too."""
    loose = [element.text or ""]
    for child in element:
        if child.tag in _BLOCKS:
            blocks.append(_inline("".join(loose)))
            loose = []
            _add_block(child, blocks)
        else:
            loose.append(_flat(child))
        loose.append(child.tail or "")
    blocks.append(_inline("".join(loose)))


def _add_block(block: Any, blocks: list[str]) -> None:
    if block.tag in ("div", "quote") and any(child.tag in _BLOCKS for child in block):
        _add_blocks(block, blocks)
    elif block.tag in ("code", "quote"):  # preformatted: its spaces count
        blocks.append(_flat(block).strip("\n"))
    elif block.tag == "list":
        blocks.append("\n".join(_items(block, "")))
    elif block.tag == "table":
        rows = [
            "\t".join(_inline(_flat(cell), " ") for cell in row.iter("cell")) for row in block.iter("row")
        ]
        blocks.append("\n".join(row.strip("\t") for row in rows if row.strip()))
    else:
        blocks.append(_inline(_flat(block)))


def _items(block: Any, indent: str) -> list[str]:
    lines = []
    for item in block:
        text = _inline(_flat(item, without="list"), " ")
        lines += [f"{indent}- {text}"] if text else []
        for inner in item.iterchildren("list"):
            lines += _items(inner, indent + "  ")
    return lines


def _flat(element: Any, *, without: str = "") -> str:
    """All text in an element but for children `without`; a break is \\x0b until the spaces are settled."""
    if element.tag == "lb":
        return "\n" if _is_preformatted(element) else "\x0b"
    parts = [element.text or ""]
    for child in element:
        gap = " " if child.tag in _APART else ""
        parts += [gap, "" if child.tag == without else _flat(child), gap, child.tail or ""]
    return "".join(parts)


def _is_preformatted(element: Any) -> bool:
    return any(above.tag in ("code", "quote") for above in element.iterancestors())


def _inline(text: str, line_break: str = "\n") -> str:
    """Text as a browser would set it: runs of white space are one space, breaks are kept."""
    lines = (" ".join(line.split()) for line in text.split("\x0b"))
    return line_break.join(lines).strip()
