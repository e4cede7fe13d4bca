"""The doctor's report as text, laid out by hand: the gravest first, each with what to do about it."""

from typing import Any

import msgspec
import pytest

from llmkit.commands.doctor.text import doctor_text, verdict
from llmkit.workflows.doctor.doctor import Checked, DoctorReport
from llmkit.workflows.doctor.findings import Level, finding
from llmkit.workflows.doctor.machine import Machine

MACHINE = Machine(
    llmkit="0.1.0",
    python="3.11.4",
    platform="Linux 6.1 x86_64",
    packages={"torch": "2.9.0", "numpy": None},
    cores=8,
    cpu_quota=1.5,
    instruction_sets=["avx2", "fma"],
    kernels="avx2",
    memory_bytes=32 << 30,
    memory_available_bytes=3 << 29,
    disk_free_bytes=5 << 20,
    threads={"OMP_NUM_THREADS": "4"},
    encoding="utf-8",
    nvidia_driver=None,
)


def _report(*levels: Level, kinds: tuple[str, ...] = ("tokenizer", "shards")) -> DoctorReport:
    return DoctorReport(
        checked=[Checked(kind=kind, path=f"p{number}") for number, kind in enumerate(kinds)],
        findings=[
            finding(level, f"c.{number}", f"p{number}", "is wrong", "mend it")
            for number, level in enumerate(levels)
        ],
    )


def test_the_gravest_stand_first_and_equals_keep_their_order() -> None:
    assert doctor_text(_report("info", "error", "warning", "error"), width=80).splitlines() == [
        "error: p1: is wrong [c.1]",
        "  hint: mend it",
        "error: p3: is wrong [c.3]",
        "  hint: mend it",
        "warning: p2: is wrong [c.2]",
        "  hint: mend it",
        "info: p0: is wrong [c.0]",
        "  hint: mend it",
        "p0 (tokenizer), p1 (shards): 2 errors, 1 warning, 1 remark",
    ]


@pytest.mark.parametrize(
    ("levels", "counts"),
    [
        ((), "nothing found"),
        (("info",), "1 remark"),
        (("info", "info"), "2 remarks"),
        (("warning",), "1 warning"),
        (("error", "error", "info"), "2 errors, 1 remark"),
    ],
)
def test_the_verdict_counts_each_level_and_names_none_that_is_absent(
    levels: tuple[Level, ...], counts: str
) -> None:
    report = _report(*levels)
    assert verdict(report) == f"doctor: {counts}"
    assert doctor_text(report, width=80).endswith(f"p0 (tokenizer), p1 (shards): {counts}")


def test_many_paths_are_counted_by_kind_and_few_are_named() -> None:
    kinds = ("shards", "model", "shards", "model", "unknown")
    assert doctor_text(_report(kinds=kinds), width=80) == "2 shards, 2 model, 1 unknown: nothing found"
    assert doctor_text(_report(kinds=kinds[:4]), width=80).startswith("p0 (shards), p1 (model), ")


def test_a_long_finding_goes_on_under_itself_and_nothing_is_wider_than_asked() -> None:
    what = "has the sha256 0123456789ab but the shards were packed with the tokenizer ba9876543210"
    report = DoctorReport(
        findings=[finding("error", "a.b", "tok", what, "llmkit pack -t tok docs -o shards")]
    )
    assert doctor_text(report, width=36).splitlines() == [
        "error: tok: has the sha256",
        "  0123456789ab but the shards were",
        "  packed with the tokenizer",
        "  ba9876543210 [a.b]",
        "  hint: llmkit pack -t tok docs -o",
        "        shards",
        "1 error",
    ]


def test_the_level_and_the_place_are_never_torn_apart() -> None:
    report = DoctorReport(findings=[finding("warning", "a.b", "a/long/path/of/a/folder", "is empty", "x")])
    assert doctor_text(report, width=24).splitlines()[0] == "warning: a/long/path/of/a/folder:"


def test_the_machine_is_told_before_what_is_wrong_with_it() -> None:
    assert doctor_text(DoctorReport(machine=MACHINE), width=80).splitlines() == [
        "machine",
        "  llmkit    0.1.0, Python 3.11.4, Linux 6.1 x86_64",
        "  cores     8, time for 1.5; avx2, fma",
        "  memory    32.0 GiB, 1.5 GiB free",
        "  disk      5.0 MiB free here",
        "  threads   OMP_NUM_THREADS=4",
        "  kernels   avx2",
        "  NVIDIA    none",
        "  packages  torch 2.9.0, numpy missing",
        "",
        "nothing found",
    ]


@pytest.mark.parametrize(
    ("change", "name", "expected"),
    [
        ({"memory_bytes": None}, "memory", None),
        ({"memory_available_bytes": None}, "memory", "32.0 GiB"),
        ({"cpu_quota": None}, "cores", "8; avx2, fma"),
        ({"instruction_sets": []}, "cores", "8, time for 1.5; instruction sets unknown"),
        ({"threads": {}}, "threads", "not limited"),
        ({"nvidia_driver": "550.1"}, "NVIDIA", "driver 550.1"),
    ],
)
def test_what_a_system_does_not_tell_is_left_out_or_called_unknown(
    change: dict[str, Any], name: str, expected: str | None
) -> None:
    text = doctor_text(DoctorReport(machine=msgspec.structs.replace(MACHINE, **change)), width=80)
    facts = dict(line.strip().split("  ", 1) for line in text.splitlines() if line.startswith("  "))
    assert facts.get(name, "").strip() == (expected or "")


def test_a_path_or_a_finding_cannot_steer_the_terminal() -> None:
    report = DoctorReport(
        checked=[Checked(kind="model", path="m\x1b[2J")],
        findings=[finding("error", "a.b", "m\x1b[2J", "found \x1b]0;x\x07", "look at m\x1b[2J")],
    )
    text = doctor_text(report, width=80)
    assert "\x1b" not in text and "\x07" not in text
    assert text.count(r"m\x1b[2J") == 3
