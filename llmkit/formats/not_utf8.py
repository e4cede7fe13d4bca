"""What is said of bytes that are no UTF-8, and what to do with them by what the file begins with."""

from llmkit.errors import as_word
from llmkit.formats.gguf.magic import MAGIC as GGUF
from llmkit.formats.magic import ARROW_FILE, ARROW_STREAM, PARQUET, SQLITE, ZIP

_BEGINNINGS = {
    b"\xff\xfe": "iconv -f utf-16 -t utf-8 {}",
    b"\xfe\xff": "iconv -f utf-16 -t utf-8 {}",
    b"\xfd7zXZ\0": "xz -dc {}",
    b"BZh": "bzip2 -dc {}",
    b"\x04\x22\x4d\x18": "lz4 -dc {}",
    ZIP: "unzip -p {}",
    b"7z\xbc\xaf\x27\x1c": "7z e -so {}",
    b"%PDF-": "pdftotext {} -",
}
_TABLES = {
    ARROW_FILE: ("an Arrow file", ".arrow"),
    ARROW_STREAM: ("an Arrow file", ".arrow"),
    PARQUET: ("a parquet file", ".parquet"),
}
"""What is read as rows where its name says so."""
_NO_TEXT = {SQLITE: "an SQLite database", GGUF: "a GGUF file"}


def not_utf8(error: UnicodeDecodeError, within: str = "") -> str:
    """What was found, and where in what was to be decoded; `within` names that (` of the line`)."""
    return f"not UTF-8 (found byte 0x{error.object[error.start]:02x} at offset {error.start}{within})"


def utf8_hint(name: object, head: bytes = b"") -> str:
    """The command that makes UTF-8 of a file; from Latin-1 where its beginning tells nothing.

    Args:
        name: of the file; stdin is called FILE.
        head: its first bytes, as many as there are; none where they are not at hand.
    """
    file = "FILE" if str(name) in ("-", "stdin") else name
    charset = "latin1"
    if len(head) >= 4 and 0 in (head[0], head[1]):
        charset = "utf-16be" if head[0] == 0 else "utf-16le"  # without its mark
    return told_by_beginning(file, head) or f"iconv -f {charset} -t utf-8 {as_word(file)}"


def told_by_beginning(file: object, head: bytes) -> str | None:
    """The command that makes UTF-8 of what begins like that; None where it tells nothing."""
    for beginning, command in _BEGINNINGS.items():
        if head.startswith(beginning):
            return command.format(as_word(file))
    for beginning, (kind, suffix) in _TABLES.items():
        if head.startswith(beginning):
            is_named = str(file).endswith(suffix)
            return f"{kind}: " + (
                f"llmkit clean {as_word(file)} prints its rows"
                if is_named
                else f"give it a name that ends in {suffix}"
            )
    for beginning, kind in _NO_TEXT.items():
        if head.startswith(beginning):
            return f"{kind}, which is no text: llmkit show {as_word(file)} says what it holds"
    return None


def is_utf8(text: str) -> bool:
    """Whether a word of the command line was UTF-8; Python keeps other bytes as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
