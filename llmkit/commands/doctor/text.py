"""The report of `llmkit doctor` as text: the machine, what was checked, and each finding with its remedy."""

import textwrap
from collections import Counter

from llmkit.commands.facts import UNBROKEN, Facts, facts_lines, plural, visible
from llmkit.commands.values import format_bytes
from llmkit.workflows.doctor.doctor import DoctorReport
from llmkit.workflows.doctor.findings import LEVELS, Finding
from llmkit.workflows.doctor.machine import Machine

NAMED = 4


def doctor_text(report: DoctorReport, *, width: int) -> str:
    """Facts first, then findings, the gravest first, then how many there are."""
    lines = [] if report.machine is None else ["machine", *facts_lines(_machine(report.machine), width), ""]
    for one in sorted(report.findings, key=lambda finding: LEVELS.index(finding.level)):
        lines += _finding(one, width)
    return "\n".join([*lines, *_wrapped(_looked_at(report) + _counts(report), width)])


def verdict(report: DoctorReport) -> str:
    """`doctor: 2 errors, 1 warning`."""
    return f"doctor: {_counts(report)}"


def _finding(one: Finding, width: int) -> list[str]:
    """`level: where: what [check]` and the hint, each wrapped under itself."""
    what = f"{one.level}:{UNBROKEN}{one.where}: {one.what} [{one.check}]"
    return [*_wrapped(what, width, after="  "), *_wrapped(f"  hint: {one.hint}", width, after="        ")]


def _looked_at(report: DoctorReport) -> str:
    """The few paths by name, many by how many there are of each kind."""
    if len(report.checked) <= NAMED:
        return "".join(f"{one.path} ({one.kind}), " for one in report.checked)[:-2] + ": " * bool(
            report.checked
        )
    kinds = Counter(one.kind for one in report.checked)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items()) + ": "


def _wrapped(text: str, width: int, *, after: str = "") -> list[str]:
    lines = textwrap.wrap(
        visible(text), width, subsequent_indent=after, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace(UNBROKEN, " ") for line in lines]


def _counts(report: DoctorReport) -> str:
    counts = {level: sum(one.level == level for one in report.findings) for level in LEVELS}
    graver = [plural(counts[level], level) for level in ("error", "warning") if counts[level]]
    remarks = [plural(counts["info"], "remark")] if counts["info"] else []
    return ", ".join([*graver, *remarks]) or "nothing found"


def _machine(machine: Machine) -> Facts:
    quota = "" if machine.cpu_quota is None else f", time for {machine.cpu_quota:g}"
    memory = None
    if machine.memory_bytes is not None:
        memory = format_bytes(machine.memory_bytes)
        if machine.memory_available_bytes is not None:
            memory += f", {format_bytes(machine.memory_available_bytes)} free"
    return [
        ("llmkit", f"{machine.llmkit}, Python {machine.python}, {machine.platform}"),
        (
            "cores",
            f"{machine.cores}{quota}; {', '.join(machine.instruction_sets) or 'instruction sets unknown'}",
        ),
        ("memory", memory),
        ("disk", f"{format_bytes(machine.disk_free_bytes)} free here"),
        ("threads", ", ".join(f"{name}={value}" for name, value in machine.threads.items()) or "not limited"),
        ("kernels", machine.kernels or f"none: the native library {machine.why_no_kernels}"),
        ("NVIDIA", f"driver {machine.nvidia_driver}" if machine.nvidia_driver else "none"),
        (
            "packages",
            ", ".join(f"{name} {version or 'missing'}" for name, version in machine.packages.items()),
        ),
    ]
