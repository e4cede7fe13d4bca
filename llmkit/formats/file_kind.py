"""What an input holds: told by its name, and by its first lines where the name does not say.

.jsonl .ndjson                       lines of JSON, whatever the first of them is
.txt .md .html .py .csv …            text, whatever it begins with: `TEXT`
.json .jl .1 …, none                 lines of JSON where the first two are objects, or the only one is; one
                                     array of records is an error; anything else is text
any other suffix                     the same, but that one object alone is text
stdin, a pipe                        jsonl when it starts with {, text otherwise

Suffixes count in any case, and those of compression (.zst .zstd .gz .gzip) are left out.
"""

from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import BinaryIO

import msgspec

from llmkit.formats.json_array import LOOK, array_error, begins_array
from llmkit.formats.jsonl import BYTE_ORDER_MARK, MALFORMED, Record
from llmkit.formats.stdin_kind import StdinKind, kind_of_stdin, warc_error
from llmkit.formats.streams import is_stream, open_input, plain_name
from llmkit.formats.warc import is_warc

JSON_LINES = frozenset({".jsonl", ".ndjson"})
TEXT = frozenset(
    suffix
    for some in (
        ".txt .text .md .markdown .mdx .rst .adoc .asciidoc .org .tex .bib .srt .vtt .po .diff .patch",
        ".html .htm .xhtml .xml .svg .css .scss .sass .less .csv .tsv .yaml .yml .toml .ini .cfg .conf .lock",
        ".properties .json5 .jsonc .jsonnet .geojson .ipynb .map",
        ".py .pyi .pyx .js .mjs .cjs .jsx .ts .mts .cts .tsx .vue .svelte .c .h .cc .cpp .cxx .hh .hpp .hxx",
        ".cu .cuh .m .mm .rs .go .zig .d .nim .swift .kt .kts .java .scala .groovy .gradle .clj .cljs .edn",
        ".cs .fs .fsx .vb .rb .php .pl .pm .lua .r .dart .ex .exs .erl .hrl .hs .lhs .ml .mli .elm .lisp",
        ".lsp .el .scm .rkt .v .sv .vhd .vhdl .asm .s .f .f90 .f95 .for .pas .ada .adb .ads .cob .sol",
        ".sql .graphql .gql .proto .thrift .sh .bash .zsh .fish .ps1 .bat .cmd .awk .sed .tcl .vim .mk .mak",
        ".cmake .bzl .nix .tf .hcl .j2 .jinja .jinja2 .tmpl .tpl .erb .mustache .gbnf",
        ".log .har .webmanifest .avsc",
    )
    for suffix in some.split()
)
"""Suffixes of what people write: a program that begins with a brace is no record."""
_MAY_BE_ONE = (".json", ".jl", "")
"""Suffixes under which a single line is looked at too."""
_LONGEST = 64 << 20  # bytes of a line that is looked at: a file of one line may be as large as the disk


def is_json_lines(path: Path) -> bool:
    """Whether a path's name says jsonl, compressed or not."""
    return suffix_of(path) in JSON_LINES


def holds_json_lines(path: Path) -> bool:
    """Whether a file is jsonl: see the module's table. Of a stream only the name is asked.

    Corpora of jsonl go by the name of .json (C4, Dolma), of .jl (Scrapy; Julia's programs too), by that of
    their compression alone, or have a number behind (.jsonl.1). Of JSON that is laid out for people the first
    line is no object.

    Raises:
        MissingError: there is no such file.
        DataError: it is one JSON array of records, or damaged in its compression.
    """
    suffix = suffix_of(path)
    if suffix in JSON_LINES or suffix in TEXT or is_stream(path):
        return suffix in JSON_LINES
    with open_input(path) as stream:
        lines = _first_lines(stream)
        first = next(lines, b"")
        if begins_array(first.lstrip()):
            raise array_error(path)
        rest = [*lines]
        is_enough = bool(rest) or suffix in _MAY_BE_ONE or suffix[1:].isdigit()
        return is_enough and all(map(_is_object, [first, *rest]))


def kind_of_input(path: Path, stream: BinaryIO) -> tuple[StdinKind, BinaryIO]:
    """What an open input holds, and the input to go on with.

    Raises:
        UsageError: parquet from a pipe.
        DataError: one JSON array of records; WARC, of which only `clean` reads the pages.
    """
    if is_warc(path):
        raise warc_error(str(path), str(path))
    if not is_json_lines(path) and is_stream(path):
        return kind_of_stdin(stream)
    return "jsonl" if holds_json_lines(path) else "text", stream


def suffix_of(path: Path) -> str:
    """A name's last suffix in lower case but for those of compression; empty where there is none."""
    return PurePath(plain_name(path)).suffix


def _first_lines(stream: BinaryIO) -> Iterator[bytes]:
    """The first two lines that are not blank; of one that is no object, as much as tells what it is."""
    mark = BYTE_ORDER_MARK
    found = 0
    while found < 2 and (line := stream.readline(LOOK)):
        line, mark = line.removeprefix(mark), b""
        if not line or line.isspace():
            continue
        if not line.lstrip().startswith(b"{"):
            line += stream.read(LOOK)  # the first object in a bracket may stand on the next line
        elif not line.endswith(b"\n"):
            line += stream.readline(_LONGEST)
        found += 1
        yield line


def _is_object(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=Record)
    except MALFORMED:
        return False
    return True
