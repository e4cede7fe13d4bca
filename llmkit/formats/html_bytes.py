"""HTML as bytes: which encoding, and the text.

A byte-order mark says it first, then the HTTP header, then the page's own <meta>, then the bytes. Labels mean
what browsers take them to mean (WHATWG Encoding Standard: iso-8859-1 is windows-1252). One thing is done that
browsers do not do: a page declaring a one-byte encoding, or one that its bytes do not fit, and whose bytes
are well-formed UTF-8 with multi-byte letters, is read as UTF-8. Read as declared it would be mojibake.
"""

import codecs
import re
from dataclasses import dataclass
from typing import Literal

Evidence = Literal["bom", "header", "meta", "content", "fallback"]
PRESCAN_BYTES = 4096  # browsers look at 1024; pages with long comments before <meta> exist
FALLBACK = "windows-1252"
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_META = re.compile(rb"<meta\b[^>]*?\bcharset\s*=\s*[\"']?\s*([\w.:+-]+)", re.IGNORECASE)
_XML = re.compile(rb"\A\s*<\?xml[^>]*?\bencoding\s*=\s*[\"']([\w.:+-]+)", re.IGNORECASE)
_AS_BROWSERS_READ = {
    **dict.fromkeys(("ascii", "us-ascii", "iso8859-1", "latin-1", "windows-1252", "cp1252"), "cp1252"),
    **dict.fromkeys(("iso8859-9", "cp1254"), "cp1254"),
    **dict.fromkeys(("gb2312", "gbk", "gb18030"), "gb18030"),
    **dict.fromkeys(("shift_jis", "cp932", "x-sjis"), "cp932"),
    **dict.fromkeys(("euc_kr", "cp949", "ks_c_5601-1987"), "cp949"),
    **dict.fromkeys(("tis-620", "iso8859-11", "cp874"), "cp874"),
    **dict.fromkeys(("big5", "big5hkscs", "x-x-big5"), "big5hkscs"),
    **{"x-user-defined": "cp1252", "x-gbk": "gb18030", "x-euc-jp": "euc_jp", "unicode": "utf-8"},
}
_MULTI_BYTE = {
    "gb18030",
    "cp932",
    "cp949",
    "big5hkscs",
    "euc_jp",
    "iso2022_jp",
    "utf-8",
    "utf-16-le",
    "utf-16-be",
}
_C1 = {0xDC00 + byte: byte for byte in range(0x80, 0xA0)}  # windows-1252 leaves five bytes open: C1 controls


@dataclass(frozen=True)
class DecodedHtml:
    """Text, the encoding it was read in, what said so, and how many bytes or sequences became U+FFFD."""

    text: str
    charset: str
    evidence: Evidence
    replaced: int


def decode_html(content: bytes, charset: str | None = None) -> DecodedHtml:
    """The text of an HTML page.

    Args:
        content: the page's bytes.
        charset: what the HTTP header says, None where it says nothing.
    """
    for mark, name in _BOMS:
        if content.startswith(mark):
            return _decoded(content[len(mark) :], name, "bom")
    declared, evidence = _declared(content, charset)
    if declared is None:
        if _is_utf8(content):
            return _decoded(content, "utf-8", "content")
        return _decoded(content, "cp1252", "fallback")
    decoded = _decoded(content, declared, evidence)
    in_doubt = declared not in _MULTI_BYTE or (decoded.replaced and declared != "utf-8")
    if in_doubt and not content.isascii() and _is_utf8(content):
        return _decoded(content, "utf-8", "content")
    if declared == "utf-8" and decoded.replaced and _is_one_byte(decoded):
        return _decoded(content, "cp1252", "fallback")
    return decoded


def _declared(content: bytes, charset: str | None) -> tuple[str | None, Evidence]:
    if charset and (codec := _codec(charset)) is not None:
        return codec, "header"
    head = _COMMENT.sub(b"", content[:PRESCAN_BYTES])
    found = _META.search(head) or _XML.search(head)
    if found is not None and (codec := _codec(found.group(1).decode("latin-1"))) is not None:
        return ("utf-8" if codec.startswith("utf-16") else codec), "meta"  # it was read as ASCII: not UTF-16
    return None, "fallback"


def _codec(label: str) -> str | None:
    """Python's codec for a label as browsers understand it; None for a label that means nothing."""
    label = label.strip().lower()
    known = _AS_BROWSERS_READ.get(label)
    if known is not None:
        return known
    try:
        info = codecs.lookup(label)
    except LookupError:
        return None
    if not getattr(info, "_is_text_encoding", True) or info.name in ("idna", "punycode", "utf-7", "mbcs"):
        return None
    name = {"utf-16": "utf-16-le", "utf-8-sig": "utf-8"}.get(info.name, info.name)
    return _AS_BROWSERS_READ.get(name, name)


def _decoded(content: bytes, codec: str, evidence: Evidence) -> DecodedHtml:
    if codec == "cp1252":
        text = content.decode("cp1252", "surrogateescape").translate(_C1)
        return DecodedHtml(text, FALLBACK, evidence, 0)
    try:
        return DecodedHtml(content.decode(codec), codec, evidence, 0)
    except UnicodeDecodeError:
        text = content.decode(codec, "replace")
    genuine = content.count(b"\xef\xbf\xbd") if codec == "utf-8" else 0
    return DecodedHtml(text, codec, evidence, text.count("\ufffd") - genuine)


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        is_cut = error.reason == "unexpected end of data"  # a page that ends inside a letter
        return is_cut and not content[: error.start].isascii()
    return True


def _is_one_byte(decoded: DecodedHtml) -> bool:
    """Whether bytes said to be UTF-8 are none at all: every letter beyond ASCII failed."""
    beyond = sum(not letter.isascii() for letter in decoded.text)
    return beyond == decoded.text.count("\ufffd") == decoded.replaced
