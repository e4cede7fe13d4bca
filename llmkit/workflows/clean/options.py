"""What `llmkit clean` was asked to do: what decides each document's fate, and where things are."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

import msgspec

from llmkit.errors import UsageError
from llmkit.workflows.corpus_files import CorpusFiles

Extract = Literal["fast", "precise", "none"]
Pii = Literal["mask", "tag", "drop"]
Mode = Literal["drop", "tag"]
PRESET_NAMES = (
    *("c4", "c4-tfds", "c4-paragraphs", "gopher", "gopher-repetition", "gopher-quality", "fineweb"),
    *("fineweb-quality", "refinedweb", "ocr", "markup", "code", "boilerplate"),
)
"""Of `text.presets`, which loads numpy: completions and the manual name them."""
ENOUGH_DOCUMENTS = 200
"""That a rule must have seen before `max_drop` says anything about it."""


class CleanSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides which bytes come out, in values that JSON has: workers are sent it."""

    presets: tuple[str, ...] = ()
    """Sets of rules by name, in the order in which they run."""
    rules: str | None = None
    """The content of a rule file, which runs behind the presets."""
    rules_name: str = ""
    pages: bool = False
    """There are HTML or WARC files among the inputs."""
    pipes: bool = False
    """There are streams among the inputs, which may turn out to be WARC."""
    extract: Extract | None = None
    """How text is taken out of `html`; None: `fast` for HTML and WARC, and jsonl has texts."""
    seconds_per_document: float = 10.0
    """The longest that extraction may take, in CPU time."""
    lang: str | None = None
    """Languages that stay, with the least score of each: `en:0.65,de`."""
    lang_model: str | None = None
    """Path of a fastText model; None: py3langid."""
    fix_encoding: bool = False
    pii: Pii | None = None
    license_allow: tuple[str, ...] = ()
    license_deny: tuple[str, ...] = ()
    require_license: bool = False
    detect_license: bool = False
    boilerplate: bool = False
    against: tuple[tuple[str, str], ...] = ()
    """Evaluation sets: path and SHA-256 of each."""
    mode: Mode = "drop"
    field: str = "text"
    keep_bad: bool = False
    """Malformed lines are passed over (and kept with the rejects), not an error."""
    rejects: bool = False
    """Rejected documents are written."""
    report: bool = False
    """Every rule measures every document, and samples are kept."""

    def __post_init__(self) -> None:
        """Raises UsageError where extraction has no time: a timer of 0 seconds would never end it."""
        if not 0 < self.seconds_per_document < inf:
            raise UsageError(
                f"--time-per-document {self.seconds_per_document:g}: no page is extracted in that",
                hint="--time-per-document 10s",
            )

    @property
    def asks_licence(self) -> bool:
        """Whether the licence of a document is of any account."""
        return bool(self.license_allow or self.license_deny or self.require_license or self.detect_license)


@dataclass(frozen=True)
class CleanFiles(CorpusFiles):
    """What is read, where it goes, and who does the work."""

    inputs: Sequence[Path]
    rules: Path | None = None
    """A rule file in TOML."""
    against: Sequence[Path] = ()
    """Evaluation sets: files and folders."""
    unbuffered: bool = False
    max_drop: float = 0.9
    fail_if_dropped_over: float | None = None

    def reads(self, inputs: Sequence[Path], settings: CleanSettings) -> list[Path]:
        """All that a run reads, of which no output may take the place.

        Args:
            inputs: folders already listed.
            settings: with the evaluation sets, also listed.
        """
        evaluation = [*self.against, *(Path(path) for path, _ in settings.against)]
        model = None if settings.lang_model is None else Path(settings.lang_model)
        return [*inputs, *evaluation, *(path for path in (self.rules, model) if path is not None)]
