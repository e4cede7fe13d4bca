"""The flags of `llmkit clean` alone: what is done with documents, and when it is too much."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from llmkit.commands.corpus_flags import LicenseAllow, LicenseDeny, RequireLicense, licence_settings
from llmkit.commands.values import parse_seconds, parse_share
from llmkit.workflows.clean.options import CleanFiles, CleanSettings, Extract, Mode, Pii

Default = CleanSettings()

Inputs = Annotated[
    list[Path] | None,
    Argument(metavar="FILE", help="Documents, text, HTML, WARC, parquet, folders; - is stdin."),
]
Rejects = Annotated[
    Path | None, Option(metavar="FILE", help="Keep what is dropped or malformed, with the reason.")
]
ReportFile = Annotated[
    Path | None, Option(metavar="FILE", help="Values and samples of every rule: .json or .html.")
]
Explain = Annotated[
    bool, Option("--explain", help="Every rule, value and threshold of each document; writes no other.")
]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is done with documents."""

    preset: Annotated[
        list[str] | None, Option(metavar="NAME", help="A set of rules; repeatable, in the order given.")
    ] = None
    rules: Annotated[
        Path | None, Option(metavar="FILE.toml", help="Rules of your own, behind the presets.")
    ] = None
    extract: Annotated[
        Extract | None, Option(help="Text out of HTML, of jsonl with html too; none keeps the markup.")
    ] = None
    time_per_document: Annotated[
        float, Option(parser=parse_seconds, metavar="TIME", help="CPU time that extraction may take.")
    ] = Default.seconds_per_document
    fix_encoding: Annotated[
        bool, Option("--fix-encoding", help="Repair mojibake, take out control characters, NFC.")
    ] = Default.fix_encoding
    lang: Annotated[
        str | None, Option(metavar="CODES", help="Languages that stay, with a least score: en:0.65,de.")
    ] = None
    lang_model: Annotated[
        Path | None, Option(metavar="FILE", help="A fastText model, in place of py3langid.")
    ] = None
    boilerplate: Annotated[
        bool, Option("--boilerplate", help="Take out lines of menus, cookie notes and the like.")
    ] = Default.boilerplate
    pii: Annotated[
        Pii | None,
        Option(
            help="Personal data: put <EMAIL> in its place, tag it, or drop the document. Looked for are "
            "e-mail and public IP addresses, telephone numbers with +, 1 or tel before them, cards, IBANs "
            "and keys of known kinds; not names."
        ),
    ] = None
    license_allow: LicenseAllow = None
    license_deny: LicenseDeny = None
    require_license: RequireLicense = None
    detect_license: Annotated[
        bool, Option("--detect-license", help="Look for a licence in the page or text.")
    ] = Default.detect_license
    against: Annotated[
        list[Path] | None, Option(metavar="FILE", help="Drop what shares 13 words with this test set.")
    ] = None
    mode: Annotated[Mode, Option(help="tag keeps all, and writes reasons to attributes.clean.")] = (
        Default.mode
    )

    def settings(self) -> dict[str, Any]:
        """As CleanSettings has them; the files of --rules and --against are read by the workflow."""
        return {
            "presets": tuple(self.preset or ()),
            "extract": self.extract,
            "seconds_per_document": self.time_per_document,
            "fix_encoding": self.fix_encoding,
            "lang": self.lang,
            "lang_model": None if self.lang_model is None else str(self.lang_model),
            "boilerplate": self.boilerplate,
            "pii": self.pii,
            **licence_settings(self.require_license, self.license_allow, self.license_deny),
            "detect_license": self.detect_license,
            "mode": self.mode,
        }


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much may be dropped."""

    max_drop: Annotated[
        float, Option(parser=parse_share, metavar="SHARE", help="Stop when a rule drops more; 1: never.")
    ] = CleanFiles.max_drop
    fail_if_dropped_over: Annotated[
        float | None,
        Option(parser=parse_share, metavar="SHARE", help="Exit 1 at the end if more was rejected."),
    ] = None
