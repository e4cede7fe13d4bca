"""The flags of `llmkit dedup` alone: what makes a duplicate, which one stays, and what is written beside."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Option

from llmkit.commands.values import parse_share, parse_size
from llmkit.workflows.dedup.options import (
    DedupConfig,
    DedupKind,
    DedupMode,
    WordOrCharacter,
    solve_config,
)

Default = DedupConfig
_SOLVED = ("similarity", "bands", "rows", "hashes")
"""Of these, what was not given is found."""

Inputs = Annotated[list[Path] | None, Argument(metavar="FILE", help="Documents, text, folders; - is stdin.")]
Against = Annotated[
    Path | None, Option(metavar="INDEX", help="Also drop what is like a document of this index.")
]
IndexOut = Annotated[
    Path | None, Option("--save-index", metavar="FOLDER", help="Keep an index of what is kept.")
]
Mode = Annotated[DedupMode, Option(help="Drop duplicates, or note them in attributes.dedup.")]
Rejects = Annotated[
    Path | None,
    Option("--rejects", metavar="FILE", help="Keep duplicates and malformed lines here, with the reason."),
]
Clusters = Annotated[
    Path | None, Option(metavar="FILE", help="A line a cluster: keeper, members, similarity.")
]
_LEAST_MEMORY = 1 << 20  # of less, parts are too many to come to an end, or hold nothing


def _parse_memory(text: str | float) -> int:
    size = parse_size(text)
    if size < _LEAST_MEMORY:
        raise BadParameter(f"{text} is less than 1MiB")
    return size


Memory = Annotated[
    int, Option(parser=_parse_memory, metavar="SIZE", help="Sort in parts of this.", show_default="4GiB")
]
FailOver = Annotated[
    float | None,
    Option(
        "--fail-if-dropped-over",
        parser=parse_share,
        metavar="SHARE",
        help="Exit 1 if more than this are duplicates.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What makes a duplicate, and which of them stays."""

    by: Annotated[DedupKind, Option(help="What makes a duplicate; see above.")] = Default.by
    key: Annotated[str, Option(metavar="KEY", help="By exact: has to be equal, as metadata.url.")] = (
        Default.key
    )
    similarity: Annotated[
        float | None,
        Option(
            "--similarity",
            "--near",
            metavar="X",
            help="By near: shared shingles over all, from which documents are duplicates; solves --bands and "
            "--rows unless given.",
            show_default=f"{Default.similarity:g}",
        ),
    ] = None
    bands: Annotated[
        int | None, Option(min=1, metavar="N", help="Of a signature.", show_default=str(Default.bands))
    ] = None
    rows: Annotated[
        int | None, Option(min=1, metavar="N", help="Hashes in a band.", show_default=str(Default.rows))
    ] = None
    hashes: Annotated[int, Option(min=1, metavar="N", help="Most hashes that --similarity may use.")] = (
        Default.bands * Default.rows
    )
    ngram: Annotated[
        int, Option(min=1, max=10_000, metavar="N", help="Words or characters in a shingle.")
    ] = Default.ngram
    unit: Annotated[WordOrCharacter, Option(help="What shingles are made of.")] = Default.unit
    verify: Annotated[
        bool, Option("--verify/--no-verify", help="Compare the shingles of candidates, or trust the bands.")
    ] = Default.verify
    transitive: Annotated[
        bool, Option("--transitive", help="Also drop what is like a dropped document only.")
    ] = Default.transitive
    prefer: Annotated[
        str,
        Option(
            metavar="RULE",
            help="What is kept: source:wiki>web, date:max, KEY:min, length:max, first; with commas between.",
            show_default="length:max by near, else first",
        ),
    ] = Default.prefer
    min_words: Annotated[
        int, Option(min=1, metavar="N", help="A paragraph or line of fewer words stays.")
    ] = Default.min_words
    span: Annotated[
        int, Option(min=1, metavar="N", help="By substring: words in a row (characters with --unit char).")
    ] = Default.span
    drop_above: Annotated[
        float | None,
        Option(
            metavar="X", help="By substring: cut nothing, drop documents with more repeated than this share."
        ),
    ] = Default.drop_above

    def config(self, *, mode: DedupMode, field: str) -> DedupConfig:
        """The rule as the workflow takes it: bands and rows are solved where only a similarity is given.

        Args:
            mode: what becomes of a duplicate.
            field: key of the text.

        Raises:
            UsageError: flags that do not go together.
        """
        given = {name: value for name, value in vars(self).items() if name not in _SOLVED}
        return solve_config(
            DedupConfig(**given, mode=mode, field=field),
            similarity=self.similarity,
            bands=self.bands,
            rows=self.rows,
            hashes=self.hashes,
        )
