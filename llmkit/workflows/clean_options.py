"""What `llmkit clean` was asked to do: what decides each document's fate, and where things are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from llmkit.workflows.units import ExecutorName

Extract = Literal["fast", "precise", "none"]
Pii = Literal["mask", "tag", "drop"]
Mode = Literal["drop", "tag"]
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
    extract: Extract | None = None
    """How text is taken out of `html`; None: `fast` for HTML and WARC files, and jsonl has texts."""
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

    @property
    def asks_licence(self) -> bool:
        """Whether the licence of a document is of any account."""
        return bool(self.license_allow or self.license_deny or self.require_license or self.detect_license)


@dataclass(frozen=True)
class CleanFiles:
    """What is read, where it goes, and who does the work."""

    inputs: Sequence[Path]
    out: Path | None = None
    rejects: Path | None = None
    report: Path | None = None
    rules: Path | None = None
    """A rule file in TOML."""
    against: Sequence[Path] = ()
    """Evaluation sets: files and folders."""
    workers: int = 1
    shard: str | None = None
    executor: ExecutorName = "process"
    force: bool = False
    unbuffered: bool = False
    max_drop: float = 0.9
    fail_if_dropped_over: float | None = None

    @property
    def is_folder(self) -> bool:
        """Whether the output is a folder of parts: a name that says neither jsonl nor a stream."""
        if self.out is None or str(self.out) == "-":
            return False
        from llmkit.formats.documents import is_json_lines

        return not is_json_lines(self.out) and (self.out.is_dir() or not self.out.exists())
