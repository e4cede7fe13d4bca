"""What `llmkit mix` was asked for: sources and weights, what decides the bytes, and where things are."""

from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from llmkit.errors import MissingError, UsageError
from llmkit.text.mix_amounts import Exhaust
from llmkit.workflows.corpus_files import CorpusFiles

if TYPE_CHECKING:
    from llmkit.text.licences.ids import LicenceGate

Measure = Literal["tokens", "bytes", "documents"]
FORM = "--source NAME=PATH:WEIGHT[:MAX_EPOCHS], as --source wiki=wiki.jsonl:0.3:2"
PART_BYTES = 64 << 20
"""Of text in a part of the result."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One `--source`."""

    name: str
    path: str
    """A file, a folder, a pattern (`web/*.jsonl.zst`), or `-`."""
    weight: float | None = None
    """None: its size."""
    max_epochs: float | None = None

    @property
    def files(self) -> list[Path]:
        """What the path names, folders and `-` not yet opened.

        Raises:
            MissingError: a pattern that nothing matches.
        """
        if not has_magic(self.path) or Path(self.path).exists():
            return [Path(self.path)]
        found = [Path(name) for name in sorted(glob(self.path, recursive=True))]  # noqa: PTH207 (any root)
        if not found:
            raise MissingError(f"{self.path}: no files match (source {self.name})", hint="check the pattern")
        return found

    def described(self, path: str) -> str:
        """As it is typed, with another path."""
        weight = "" if self.weight is None else f"{self.weight:g}"
        epochs = "" if self.max_epochs is None else f":{self.max_epochs:g}"
        return f"{self.name}={path}" + (f":{weight}{epochs}" if weight or epochs else "")


class MixSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides which bytes come out, in values that JSON has: workers are sent it."""

    sources: tuple[Source, ...]
    """In the order of their names, which differ."""
    by: Measure = "bytes"
    total: int | None = None
    """In the unit of `by`; None: see `text.mix_amounts.allot`."""
    temperature: float = 1.0
    on_exhaust: Exhaust = "stop"
    seed: int = 0
    license_allow: tuple[str, ...] = ()
    license_deny: tuple[str, ...] = ()
    require_license: bool = False
    field: str = "text"
    tokenizer: str | None = None
    """Path of what counts the tokens."""
    tokenizer_sha256: str | None = None
    threads: int | None = None
    """That count tokens in one process; None: one for each core. Changes no byte."""
    skips_bad: bool = False
    rejects: bool = False
    """What the gate refuses and what is malformed is written."""

    @property
    def gate(self) -> "LicenceGate":
        """What asks for the licence."""
        from llmkit.text.licences.ids import LicenceGate  # numpy, which --help need not wait for

        return LicenceGate(allow=self.license_allow, deny=self.license_deny, require=self.require_license)


@dataclass(frozen=True, kw_only=True)
class MixFiles(CorpusFiles):
    """Where things go and who does the work: nothing of it changes which documents are chosen."""

    unit_bytes: int = 64 << 20
    part_bytes: int = PART_BYTES


def parse_source(text: str) -> Source:
    """Read `NAME=PATH[:WEIGHT[:MAX_EPOCHS]]`; `NAME=PATH::2` has a limit and no weight.

    Raises:
        UsageError: no name, no path, or numbers that are not above 0.
    """
    name, equals, rest = text.partition("=")
    if not equals or not name or not rest:
        raise UsageError(f"--source {text}: no name or no path (found {text!r})", hint=FORM)
    parts = rest.split(":")
    numbers: list[float | None] = []
    while len(parts) > 1 and len(numbers) < 2 and (not parts[-1] or _number(parts[-1]) is not None):
        numbers.insert(0, _number(parts.pop()))
    path = ":".join(parts)
    weight, epochs = [*numbers, None, None][:2]
    if not path:
        raise UsageError(f"--source {text}: no path", hint=FORM)
    if (weight is not None and weight <= 0) or (epochs is not None and epochs <= 0):
        raise UsageError(f"--source {text}: weight and epochs have to be above 0", hint=FORM)
    return Source(name=name, path=path, weight=weight, max_epochs=epochs)


def parse_sources(texts: Sequence[str]) -> tuple[Source, ...]:
    """All of them, in the order of their names.

    Raises:
        UsageError: none, two of one name, or weights for some of them only.
    """
    if not texts:
        raise UsageError("no sources: a mixture is made of some", hint=FORM)
    sources = tuple(sorted(map(parse_source, texts), key=lambda source: source.name))
    for one, other in pairwise(sources):
        if one.name == other.name:
            raise UsageError(
                f"--source {one.name}: named twice ({one.path} and {other.path})",
                hint=f"--source '{one.name}=folder/*.jsonl:1' takes several files",
            )
    with_weight = [source.name for source in sources if source.weight is not None]
    if with_weight and len(with_weight) < len(sources):
        without = next(source.name for source in sources if source.weight is None)
        raise UsageError(
            f"--source {without}: no weight, where {with_weight[0]} has one",
            hint="weigh all of them, or none",
        )
    return sources


def check_settings(settings: MixSettings, files: MixFiles) -> None:
    """Find what does not go together, before any work.

    Raises:
        UsageError: names the flags.
    """
    _ = settings.gate
    if not settings.temperature > 0:
        raise UsageError(f"--temperature {settings.temperature:g}: has to be above 0", hint="--temperature 2")
    if (settings.by == "tokens") != (settings.tokenizer is not None):
        raise UsageError(
            "--by tokens needs a tokenizer"
            if settings.tokenizer is None
            else f"-t counts tokens, and --by {settings.by} asks for none",
            hint="-t TOKENIZER" if settings.tokenizer is None else "leave one of them out",
        )
    if settings.total is not None and settings.total <= 0:
        raise UsageError(f"--total {settings.total}: has to be above 0", hint="--total 1G")
    if not files.is_folder and (files.shard is not None or files.executor == "ray"):
        flag = "--shard divides" if files.shard is not None else "--executor ray makes"
        raise UsageError(f"{flag} the parts of a folder", hint="-o NAME, without .jsonl")


def _number(text: str) -> float | None:
    """The number that a text is; None for anything else, infinity and NaN included."""
    try:
        found = float(text)
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None
