"""The flags of `llmkit tokenize`: which texts, which result, which tokens, and where results go."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from llmkit.commands.shared import Force, Rejects, SkipBad, inputs_or_stdin
from llmkit.commands.values import MOST_AT_ONCE, parse_count, parse_finite
from llmkit.errors import UsageError
from llmkit.tokens.config import Keep, RawType, RowFormat, TokenizeConfig, TokenizeMode

Default = TokenizeConfig
USAGE = "llmkit tokenize -t TOKENIZER FILE…, or … | llmkit tokenize -t TOKENIZER"

TokenizerPath = Annotated[
    Path, Option("--tokenizer", "-t", metavar="PATH", help="Folder or file of the tokenizer.")
]
MaxTokens = Annotated[
    int | None, Option("--max", parser=parse_count, metavar="N", help="Exit 1 if a document is over N.")
]
Price = Annotated[
    list[float] | None, Option(parser=parse_finite, metavar="X", help="Cost at X per million tokens.")
]
PerRecord = Annotated[bool, Option("--per-record", help="Count jsonl records, not files.")]
Format = Annotated[RowFormat | None, Option("--format", help="Of the result; tsv has no header, no total.")]
Threads = Annotated[
    int | None, Option(min=1, max=MOST_AT_ONCE, metavar="N", help="Cores to use.", show_default="all")
]


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What is read."""

    inputs: Annotated[
        list[Path] | None, Argument(metavar="FILE", help="Text, documents, chats, folders; - is stdin.")
    ] = None
    text: Annotated[str | None, Option(metavar="TEXT", help="This text instead of files.")] = None
    files_from: Annotated[
        Path | None, Option(metavar="FILE", help="Read the names of files from here, one a line.")
    ] = None
    files0_from: Annotated[
        Path | None, Option(metavar="FILE", help="The same, each name ended by a zero byte.")
    ] = None

    def files(self, *, decode: bool) -> list[Path]:
        """The files that are named here: stdin where nothing is named at all.

        Raises:
            UsageError: --text beside files or --decode, or nothing is given while stdin is a terminal.
        """
        if self.text is None and self.files_from is None and self.files0_from is None:
            return inputs_or_stdin(self.inputs, USAGE)
        if self.text is not None and (self.inputs or self.files_from or self.files0_from or decode):
            raise UsageError(
                "--text is one input, and files are another", hint="pipe the text in, and name -"
            )
        return self.inputs or []


@dataclass(frozen=True, kw_only=True)
class Result:
    """What comes out of each text: one of these, and what belongs to it."""

    count: Annotated[bool, Option("--count", help="Tokens, bytes, name: the default.")] = False
    ids: Annotated[bool, Option("--ids", help="Ids, one document a line.")] = False
    pieces: Annotated[bool, Option("--pieces", help="Pieces as the vocabulary stores them.")] = False
    offsets: Annotated[
        bool, Option("--offsets", help="A line a token: id, byte range, character range, text.")
    ] = False
    view: Annotated[bool, Option("--view", help="The text with its tokens told apart.")] = False
    jsonl: Annotated[bool, Option("--jsonl", help="Token jsonl, other fields passed through.")] = False
    raw: Annotated[
        RawType | None, Option(help="Little-endian ids of 2 or 4 bytes; with --decode, as input.")
    ] = None
    decode: Annotated[bool, Option("--decode", help="Ids or token jsonl back to text.")] = False
    truncate: Annotated[
        int | None, Option(parser=parse_count, metavar="N", help="At most N tokens of each document.")
    ] = None
    keep: Annotated[Keep, Option(help="What --truncate keeps.")] = Default.keep
    chunk: Annotated[
        int | None, Option(parser=parse_count, metavar="N", help="Documents of at most N tokens.")
    ] = None
    overlap: Annotated[
        int, Option(parser=parse_count, metavar="N", help="Tokens a chunk repeats from the last.")
    ] = Default.overlap
    check: Annotated[bool, Option("--check", help="Exit 1 where decoding does not give the text back.")] = (
        False
    )
    compare: Annotated[
        list[Path] | None, Option(metavar="PATH", help="Beside this tokenizer too; repeatable.")
    ] = None
    by: Annotated[str, Option(metavar="KEY", help="Group --compare by file, or a key: metadata.lang.")] = (
        Default.by
    )

    @property
    def mode(self) -> TokenizeMode:
        """The one that is asked for; counting when none is.

        Raises:
            UsageError: there are two.
        """
        given: dict[TokenizeMode, object] = {
            "count": self.count, "ids": self.ids, "pieces": self.pieces, "offsets": self.offsets,
            "view": self.view, "jsonl": self.jsonl, "raw": None if self.decode else self.raw,
            "decode": self.decode, "truncate": self.truncate, "chunk": self.chunk, "check": self.check,
            "compare": self.compare,
        }  # fmt: skip
        modes = [
            mode for mode, value in given.items() if value is not None and value is not False and value != []
        ]
        if len(modes) > 1:
            raise UsageError(
                f"--{modes[0]} and --{modes[1]} are two different results", hint="ask for one at a time"
            )
        return modes[0] if modes else "count"


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Which tokens a text becomes, and where in a record it is."""

    bos: Annotated[bool, Option("--bos", help="Begin each document with the bos token.")] = Default.bos
    eos: Annotated[bool, Option("--eos", help="End each document with the eos token.")] = Default.eos
    allow_special: Annotated[
        bool, Option("--allow-special", help="Text like <|endoftext|> becomes the token.")
    ] = Default.allow_special
    generation_prompt: Annotated[
        bool, Option("--generation-prompt", help="Chats end with the assistant's opening.")
    ] = Default.generation_prompt
    field: Annotated[str, Option(metavar="KEY", help="Key of the text in jsonl.")] = Default.field
    keep_text: Annotated[bool, Option("--keep-text", help="Leave the text in --jsonl records.")] = (
        Default.keep_text
    )


@dataclass(frozen=True, kw_only=True)
class Records:
    """Where results go, and lines that are no records."""

    out: Annotated[Path | None, Option("--out", "-o", metavar="FILE", help="Write here, not to stdout.")] = (
        None
    )
    force: Force = False
    skip_bad: SkipBad = False
    rejects: Rejects = None
