"""Options that clean, dedup and mix have in common: where results go, who does the work, licences."""

from pathlib import Path
from typing import Annotated, Any

from typer import Option

from llmkit.commands.optional_value import OptionalValue
from llmkit.commands.values import MOST_AT_ONCE
from llmkit.workflows.units import ExecutorName


def _is_family(word: str) -> bool:
    """Whether a word is a family of licences, and no file."""
    from llmkit.text.licences.table import FAMILIES  # thousands of names: for those who ask

    return word in FAMILIES


TextField = Annotated[str, Option("--field", metavar="KEY", help="Key of the text in jsonl.")]
PartsOut = Annotated[
    Path | None,
    Option(
        "--out",
        "-o",
        metavar="PATH",
        help="A .jsonl file (.zst, .gz), or a folder of parts; else stdout.",
    ),
]
ReportFile = Annotated[Path | None, Option("--report", metavar="FILE", help="The report as JSON, in a file.")]
Workers = Annotated[int, Option("--workers", min=1, max=MOST_AT_ONCE, metavar="N", help="Processes.")]
Executor = Annotated[ExecutorName, Option("--executor", help="Where units of work are done.")]
Shard = Annotated[
    str | None,
    Option("--shard", metavar="I/N", help="Only this share, 1/N to N/N, of a folder that all shards share."),
]
Unbuffered = Annotated[bool, Option("--unbuffered", help="Write each result at once.")]
ANY_LICENSE = OptionalValue("any", _is_family)
RequireLicense = Annotated[
    str | None,
    Option(
        "--require-license",
        metavar="[FAMILY]",
        parser=ANY_LICENSE,
        help="Drop what has no licence, or none of a family: permissive.",
    ),
]
LicenseAllow = Annotated[
    list[str] | None,
    Option("--license-allow", metavar="ID", help="Licences that stay: SPDX ids or families; repeatable."),
]
LicenseDeny = Annotated[
    list[str] | None, Option("--license-deny", metavar="ID", help="Licences that go; repeatable.")
]


def licence_settings(required: str | None, allow: list[str] | None, deny: list[str] | None) -> dict[str, Any]:
    """The three flags of licences as workflows take them: a family that is required may pass."""
    families = () if required in (None, ANY_LICENSE.left_out) else (str(required),)
    return {
        "license_allow": (*(allow or ()), *families),
        "license_deny": tuple(deny or ()),
        "require_license": required is not None,
    }
