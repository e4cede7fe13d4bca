"""An importance matrix: one that is whole, and has seen something."""

from pathlib import Path

from llmkit.formats.gguf.imatrix import read_imatrix
from llmkit.workflows.doctor.findings import Finding, as_finding, finding


def check_imatrix(path: Path) -> list[Finding]:
    """What is wrong with one."""
    findings: list[Finding] = []
    with as_finding(findings, "imatrix.opens", path):
        found = read_imatrix(path)
        unseen = [name for name, one in found.items() if not (one.counts > 0).all()]
        if unseen:
            what = f"no input reached all of {unseen[0]} (of {len(unseen)} such): its columns count alike"
            hint = "make it of more text, where these experts are to be weighed"
            findings.append(finding("info", "imatrix.seen", path, what, hint))
    return findings
