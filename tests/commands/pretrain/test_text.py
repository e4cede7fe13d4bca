"""A run and its plan as tables, laid out by hand; what is not known is said to be, or left out."""

import msgspec

from llmkit.commands.pretrain.text import describe_plan, describe_report, describe_trial
from llmkit.train.trial import RatePoint
from llmkit.workflows.pretrain.plan import PretrainPlan
from llmkit.workflows.pretrain.pretrain import PretrainReport
from llmkit.workflows.pretrain.trial import FindLrReport, OverfitPoint, OverfitReport

PLAN = PretrainPlan(
    out="run",
    parameters=1_312_000,
    rows=12_345,
    seq_len=512,
    steps=3086,
    epochs=0.9999,
    batch_rows=4,
    micro_batch_rows=2,
    batch_tokens=2048,
    total_tokens=6_320_128,
    lr=3e-3,
    optimizer="muon",
    schedule="cosine",
    warmup_steps=154,
    device="cpu",
    dtype="float32",
    threads=2,
    flops_per_token=8_650_000.0,
    total_flops=5.4669e13,
    peak_flops_per_second=1.234e11,
    peak_source="measured matmul float32, 768 x 768",
    memory_bytes=400 << 20,
    memory_available_bytes=12 << 30,
    checkpoint_bytes=15 << 20,
    disk_bytes=45 << 20,
    disk_free_bytes=100 << 30,
    step_seconds=0.39876,
    tokens_per_second=5135.9,
    total_seconds=1230.6,
    time_source="measured step",
)
PLANNED = """\
model    1.31M parameters
data     12,345 rows of 512 tokens
run      3,086 steps of 4 rows (2,048 tokens)
         6.32M tokens, 0.9999 epochs
updates  by muon
rate     cosine, peak 0.003, warm-up 154 steps
device   cpu, float32, 2 threads
passes   2 rows each
compute  5.47e+13 FLOPs, 8.65M a token
peak     1.23e+11 FLOPs/s (measured matmul float32, 768 x 768)
memory   400.0 MiB of 12.0 GiB available
disk     45.0 MiB of 100.0 GiB free
         15.0 MiB a checkpoint
time     20 m 31 s (measured step, 0.399 s a step)
speed    5,136 tokens/s
begins   at step 0
writes   run"""
SEVERAL = msgspec.structs.replace(
    PLAN,
    processes=4,
    division="dp 2 x fsdp 2",
    all_memory_bytes=1600 << 20,
    sent_bytes={"gradients": 10 << 20, "weights": 5 << 20},
)
REPORT = PretrainReport(
    out="run",
    parameters=1_312_000,
    steps=3086,
    tokens=6_320_128,
    loss=2.123456,
    valid_loss=2.25,
    bits_per_byte=1.49996,
    seconds=4530.4,
    tokens_per_second=5123.6,
    mfu=0.3456,
    memory_bytes=(1 << 30) + (1 << 29),
    skipped_steps=2,
    resumed_step=0,
    checkpoint="checkpoints/step-00003086",
)
REPORTED = """\
model       run  (1.31M parameters)
steps       3,086  (6.32M tokens)
loss        2.1235
validation  2.2500  (1.5000 bits per byte)
time        1 h 15 m
speed       5,124 tokens/s, 34.6% MFU
memory      1.5 GiB
left out    2 updates"""


def test_the_time_of_validation_has_a_line_of_its_own_below_the_whole() -> None:
    plan = msgspec.structs.replace(PLAN, evaluations=10, evaluation_rows=1234, evaluation_seconds=95.0)
    after = PLANNED.replace("speed ", "valid    1 m 35 s of that (10 times 1,234 rows)\nspeed ", 1)
    assert describe_plan(plan) == after


def test_a_plan_is_a_table_of_all_its_figures() -> None:
    assert describe_plan(PLAN) == PLANNED


def test_a_plan_of_several_processes_says_what_they_take_and_send() -> None:
    lines = describe_plan(SEVERAL).splitlines()
    at = lines.index("processes  4 (dp 2 x fsdp 2)")
    assert lines[at + 1 : at + 4] == [
        "memory     400.0 MiB in the first process",
        "           1.6 GiB of 12.0 GiB available in all here",
        "sent       15.0 MiB a step by each process (gradients 10.0 MiB, weights 5.0 MiB)",
    ]
    assert any("FLOPs/s a process (measured" in line for line in lines)
    on_gpus = describe_plan(msgspec.structs.replace(SEVERAL, all_memory_bytes=None)).splitlines()
    assert "memory     400.0 MiB of 12.0 GiB available each" in on_gpus


def test_a_plan_of_one_step_of_one_row_is_in_the_singular() -> None:
    small = {"rows": 1, "steps": 1, "batch_rows": 1, "micro_batch_rows": 1, "warmup_steps": 1, "threads": 1}
    lines = describe_plan(msgspec.structs.replace(PLAN, **small, epochs=1.0)).splitlines()
    assert [*lines[1:4], *lines[5:7]] == [
        "data     1 row of 512 tokens",
        "run      1 step of 1 row (2,048 tokens)",
        "         6.32M tokens, 1 epoch",
        "rate     cosine, peak 0.003, warm-up 1 step",
        "device   cpu, float32, 1 thread",
    ]
    assert lines[7] == "passes   1 row each"


def test_a_machine_that_does_not_tell_its_memory_has_only_the_need() -> None:
    lines = describe_plan(msgspec.structs.replace(PLAN, memory_available_bytes=None)).splitlines()
    assert "memory   400.0 MiB" in lines


def test_a_report_is_a_table_of_all_its_figures() -> None:
    assert describe_report(REPORT) == REPORTED


def test_what_a_run_has_no_figure_for_is_left_out() -> None:
    nothing = {"loss": None, "valid_loss": None, "bits_per_byte": None}
    unknown = {"tokens_per_second": None, "mfu": None, "skipped_steps": 0}
    names = [
        line.split("  ")[0]
        for line in describe_report(msgspec.structs.replace(REPORT, **nothing, **unknown)).splitlines()
    ]
    assert names == ["model", "steps", "time", "memory"]


def test_a_validation_without_known_bytes_and_one_update_left_out_read_as_they_should() -> None:
    lines = describe_report(msgspec.structs.replace(REPORT, bits_per_byte=None, skipped_steps=1)).splitlines()
    assert "validation  2.2500" in lines and "left out    1 update" in lines


OVERFIT = OverfitReport(
    rows=4,
    tokens=512,
    lr=3e-3,
    first_loss=7.15413,
    loss=0.00081,
    seconds=44.0,
    curve=[
        OverfitPoint(step=1, lr=3e-4, loss=7.15, grad_norm=1.0),
        OverfitPoint(step=2, lr=3e-3, loss=1.0, grad_norm=2.0),
    ],
)
FOUND = FindLrReport(
    optimizer="muon",
    suggested_lr=0.024,
    steepest_lr=0.00432,
    lowest_lr=0.0712,
    run_lr=3e-3,
    diverged=False,
    seconds=66.0,
    curve=[RatePoint(1e-6, 7.0, 7.0), RatePoint(1.0, 5.0, 6.0)],
)


def test_one_batch_learnt_is_a_few_facts_and_a_curve() -> None:
    lines = describe_trial(OVERFIT).splitlines()
    assert lines[:4] == [
        "batch  4 rows, 512 targets",
        "rate   0.003",
        "loss   7.1541 to 0.0008 in 2 updates",
        "time   44.0 s",
    ]
    assert lines[-1].endswith("loss, by update")


def test_a_range_test_names_the_flag_to_give() -> None:
    lines = describe_trial(FOUND).splitlines()
    assert lines[:7] == [
        "optimiser  muon",
        "steepest   0.0043",
        "lowest     0.071",
        "suggested  --lr 0.024",
        "now        0.003",
        "ended      at 1",
        "time       1 m 06 s",
    ]
    assert lines[-2].split() == ["-6", "-3", "0"]


def test_a_loss_that_never_fell_suggests_nothing() -> None:
    report = msgspec.structs.replace(FOUND, suggested_lr=None, steepest_lr=None, diverged=True)
    text = describe_trial(report)
    assert "suggested  none: the loss never fell" in text and "at 1, the loss above its first" in text
