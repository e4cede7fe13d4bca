"""What becomes of the audit: a line in --rejects for each faulty record, and the answer under --strict."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from llmkit.errors import DataError, GateFailed
from llmkit.formats.amount_text import plural
from llmkit.formats.jsonl import Line, encode_line, raw
from llmkit.formats.rejects import BadLines, check_rejects
from llmkit.formats.streams import open_output
from llmkit.tokens.audit import AuditReport, Fault, gravest

STAGE = "finetune"


class RejectLog(BadLines):
    """Bad lines, and records that the audit finds fault with; several sets may share one."""

    def __init__(self, stream: BinaryIO | None = None, *, skip_bad: bool = False) -> None:
        super().__init__(STAGE, skip=skip_bad, stream=stream)

    @property
    def is_kept(self) -> bool:
        """Whether anything is written."""
        return self._stream is not None

    def take_faults(self, line: Line, faults: list[Fault]) -> None:
        """One record with what is wrong with it: the gravest by name, the others beside it."""
        if self._stream is None:
            return
        first = gravest(faults)
        why = {
            "stage": STAGE,
            "rule": first.rule,
            "value": first.value,
            "threshold": first.threshold,
            "error": first.problem,
            "also": sorted({fault.rule for fault in faults} - {first.rule}),
            "kept": all(fault.kept for fault in faults),
            "file": line.file,
            "line": line.number,
        }
        self._stream.write(encode_line({**line.record, "_reject": raw(why)}))


@contextmanager
def reject_log(
    rejects: Path | None,
    *,
    skip_bad: bool = False,
    force: bool = False,
    inputs: Iterable[Path] = (),
    out: Path | None = None,
) -> Iterator[RejectLog]:
    """The faulty records of one run.

    Args:
        rejects: file for them; None keeps none. It implies `skip_bad`.
        skip_bad: pass over lines that are no JSON objects.
        force, inputs: as for `open_output`.
        out: where the results go.

    Raises:
        UsageError: see `check_rejects`.
    """
    check_rejects(rejects, force=force, inputs=inputs, out=out)
    if rejects is None:
        yield RejectLog(skip_bad=skip_bad)
        return
    with open_output(rejects, force=force, inputs=inputs) as stream:
        yield RejectLog(stream, skip_bad=skip_bad)


def check_strict(report: AuditReport, strict: bool) -> None:
    """Let a clean audit pass; without `strict`, any.

    Raises:
        GateFailed: faults were found, and `strict` is on.
    """
    if strict and report.faults:
        raise GateFailed(
            f"the mask audit found {plural(report.faulty, 'fault')}: {describe_faults(report)}",
            hint="mend the records that --rejects FILE lists, or train without --strict",
        )


def describe_faults(report: AuditReport) -> str:
    """`mask.zero 3 (train.jsonl:7: no token is learnt), …`, the gravest first."""
    return ", ".join(f"{rule} {count:,} ({report.first[rule]})" for rule, count in report.faults.items())


def read_audit(path: Path) -> AuditReport:
    """An audit that `write_audit` kept."""
    return msgspec.json.decode(path.read_bytes(), type=AuditReport)


def write_audit(path: Path, report: AuditReport) -> None:
    """Keep an audit beside the rows that it is about."""
    path.write_bytes(encode_line(report))


def nothing_left(report: AuditReport) -> DataError:
    """The error of a set in which no record can be learnt."""
    if not report.records:
        return DataError(
            "no examples to learn from: found 0 records",
            hint="give more records; of a few, a small --valid-fraction takes all or none",
        )
    return DataError(
        f"no examples to learn from: {describe_faults(report)}",
        hint="--rejects FILE lists each record with its fault",
    )
