"""What `llmkit dedup` was asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from llmkit.errors import UsageError
from llmkit.text.clusters_prefer import FIRST, Term, parse_preference
from llmkit.workflows.corpus_files import CorpusFiles

DedupKind = Literal["near", "exact", "paragraph", "line", "substring"]
DedupMode = Literal["drop", "tag"]
WordOrCharacter = Literal["word", "char"]
PIECES = ("paragraph", "line", "substring")
"""Kinds that look at parts of a text."""
_USUAL_PREFERENCE = {"near": "length:max"}
_REACH: dict[str, tuple[DedupKind, ...]] = {
    "ngram": ("near",),
    "unit": ("near", "substring"),
    "verify": ("near",),
    "transitive": ("near",),
    "min_words": ("paragraph", "line"),
    "span": ("substring",),
    "drop_above": ("substring",),
}
"""Of what not every kind reads: which do."""


@dataclass(frozen=True, kw_only=True)
class DedupConfig:
    """What decides the bytes of the result."""

    by: DedupKind = "near"
    key: str = "text"
    """What has to be equal (by `exact`): a key of the records, dots between levels."""
    similarity: float = 0.75
    """Of the sets of shingles (Jaccard), from which documents are duplicates (by `near`)."""
    bands: int = 14
    rows: int = 8
    """Of the signature: bands * rows numbers. The usual ones are FineWeb's."""
    ngram: int = 5
    unit: WordOrCharacter = "word"
    verify: bool = True
    """Compare candidates; without, whatever shares a band is a duplicate."""
    transitive: bool = False
    prefer: str = ""
    """See `clusters_prefer`; empty: `length:max` by near, else `first`."""
    min_words: int = 5
    """A paragraph or line of fewer is left alone."""
    span: int = 50
    """Words, or characters, in a row that are a duplicate (by `substring`)."""
    drop_above: float | None = None
    """The share of repeated words above which a document is dropped (by `substring`); None cuts them out."""
    mode: DedupMode = "drop"
    field: str = "text"

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """The preference, read."""
        return parse_preference(self.prefer or usual_preference(self.by))

    @property
    def keeps_first(self) -> bool:
        """Whether what comes first is kept, so that a stream needs no second look."""
        return self.terms == (FIRST,)


@dataclass(frozen=True, kw_only=True)
class DedupSources(CorpusFiles):
    """What to read, where to write, and how the work is done: nothing of it changes what is kept."""

    inputs: Sequence[Path]
    clusters: Path | None = None
    against: Path | None = None
    save_index: Path | None = None
    skip_bad: bool = False
    unbuffered: bool = False
    memory_bytes: int = 4 << 30
    unit_bytes: int = 64 << 20

    @property
    def skips_bad(self) -> bool:
        """Whether malformed lines are passed over."""
        return self.skip_bad or self.rejects is not None

    @property
    def places(self) -> dict[str, Path | None]:
        """Every output by its flag."""
        return {**super().places, "--clusters": self.clusters, "--save-index": self.save_index}


def check_options(config: DedupConfig, sources: DedupSources) -> None:
    """Find what does not go together, before any work.

    Raises:
        UsageError: names the flags.
    """
    terms = config.terms
    if config.by in PIECES:
        if not config.keeps_first:
            raise UsageError(
                f"--prefer does not go with --by {config.by}: the first of equal ones is kept",
                hint="leave --prefer out",
            )
        if sources.clusters is not None or sources.against is not None or sources.save_index is not None:
            raise UsageError(
                f"--by {config.by} has no clusters and no index", hint="use --by near or --by exact"
            )
    _check_reach(config)
    _check_substring(config)
    if sources.save_index is not None and not config.verify:
        raise UsageError(
            "--save-index does not go with --no-verify: an index holds what is compared", hint="leave one out"
        )
    if sources.shard is not None and not sources.is_folder:
        raise UsageError("--shard needs a folder that all shards share", hint="-o FOLDER")
    if config.key != "text" and config.by != "exact":
        raise UsageError(
            f"--key {config.key} goes with --by exact", hint=f"llmkit dedup --by exact --key {config.key} …"
        )
    if FIRST in terms and sources.against is not None and len(terms) > 1:
        raise UsageError("--prefer: 'first' stands alone with --against", hint="--prefer first")


def _check_reach(config: DedupConfig) -> None:
    """A flag that the kind does not read is a mistake: the result is not what was asked for."""
    for name, kinds in _REACH.items():
        if getattr(config, name) != getattr(DedupConfig, name) and config.by not in kinds:
            flag = "--no-verify" if name == "verify" else f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag} goes with --by {' or '.join(kinds)}", hint=f"--by {kinds[0]} {flag} …")


def _check_substring(config: DedupConfig) -> None:
    if config.drop_above is not None and config.mode == "tag":
        raise UsageError("--drop-above does not go with --mode tag: nothing is dropped", hint="leave one out")
    if config.drop_above is not None and not 0 <= config.drop_above < 1:
        raise UsageError(f"--drop-above {config.drop_above:g}: a share from 0 to 1", hint="--drop-above 0.5")


def usual_preference(by: DedupKind) -> str:
    """What is kept where nobody said."""
    return _USUAL_PREFERENCE.get(by, "first")


def solve_config(
    config: DedupConfig,
    *,
    similarity: float | None,
    bands: int | None,
    rows: int | None,
    hashes: int,
) -> DedupConfig:
    """The same with the bands and rows for a threshold, or as given, or the usual ones.

    Args:
        config: anything else.
        similarity, bands, rows: None where they were not given.
        hashes: the most of a signature, where bands and rows are to be found.

    Raises:
        UsageError: one of bands and rows without the other, one that nothing reads, or no way to find enough
            within `hashes`.
    """
    for flag, value in {"--similarity": similarity, "--bands": bands, "--rows": rows}.items():
        if value is not None and config.by != "near":
            raise UsageError(f"{flag} goes with --by near", hint=f"leave {flag} or --by {config.by} out")
    if hashes != DedupConfig.bands * DedupConfig.rows and (similarity is None or bands is not None):
        raise UsageError(
            "--hashes goes with --similarity, without --bands", hint="--similarity 0.8 --hashes 256"
        )
    if (bands is None) != (rows is None):
        raise UsageError("--bands and --rows go together", hint="--bands 14 --rows 8")
    wanted = config.similarity if similarity is None else similarity
    if not 0 < wanted <= 1:
        raise UsageError(f"--similarity {wanted:g}: has to be above 0 and at most 1", hint="--similarity 0.8")
    if bands is not None and rows is not None:
        return replace(config, similarity=wanted, bands=bands, rows=rows)
    if similarity is None:
        return config
    from llmkit.text.minhash import solve_bands  # numpy

    bands, rows = solve_bands(wanted, hashes)
    return replace(config, similarity=wanted, bands=bands, rows=rows)


def usual(config: DedupConfig) -> DedupConfig:
    """The same with nothing left open."""
    return replace(config, prefer=config.prefer or usual_preference(config.by))
