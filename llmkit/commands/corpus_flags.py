"""Options that clean, dedup and mix have in common: where results go, who does the work, licences."""

from pathlib import Path
from typing import Annotated

from typer import Option

from llmkit.workflows.units import ExecutorName

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
Workers = Annotated[int, Option("--workers", min=1, metavar="N", help="Processes.")]
Executor = Annotated[ExecutorName, Option("--executor", help="Where units of work are done.")]
Shard = Annotated[
    str | None,
    Option("--shard", metavar="I/N", help="Only this share, 1/N to N/N, of a folder that all shards share."),
]
Unbuffered = Annotated[bool, Option("--unbuffered", help="Write each result at once.")]
LicenseAllow = Annotated[
    list[str] | None,
    Option("--license-allow", metavar="ID", help="Licences that stay: SPDX ids or families; repeatable."),
]
LicenseDeny = Annotated[
    list[str] | None, Option("--license-deny", metavar="ID", help="Licences that go; repeatable.")
]
