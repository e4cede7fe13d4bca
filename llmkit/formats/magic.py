"""First bytes that tell what a file holds, whatever it is called."""

import re
from typing import Literal

Compression = Literal["zstd", "gzip"]
ZSTD = b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
"""Bytes 1 to 3 of the magics 0x184D2A50 to 0x184D2A5F."""
GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
ARROW_FILE = b"ARROW1"
ARROW_STREAM = b"\xff\xff\xff\xff"
"""Arrow's other format, which `datasets` saves."""
WARC = b"WARC/1."
ZIP = b"PK\x03\x04"
"""PyTorch's checkpoints, too."""
SQLITE = b"SQLite format 3\0"
"""An index of `retrieve`, unless it is another program's."""
PICKLE = b"\x80\x02"
_HTML = re.compile(rb"<(?:!doctype\s{1,10}html|html|head)[\s/>]", re.I)
HTML_HEAD_BYTES = 24
"""The most that `begins_html` looks at."""


def begins_html(head: bytes) -> bool:
    """Whether first bytes, behind blanks, are those of a page of HTML: its doctype or its outermost tags."""
    return _HTML.match(head) is not None


def compression_in(head: bytes) -> Compression | None:
    """What a file is compressed with that begins with these four bytes; None: with nothing known here."""
    if head.startswith(ZSTD) or (head[1:4] == ZSTD_SKIPPABLE and head[0] >> 4 == 5):
        return "zstd"
    return "gzip" if head.startswith(GZIP) else None
