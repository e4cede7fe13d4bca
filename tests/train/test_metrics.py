"""Records and figures of a run."""

from typing import Any

import pytest

from llmkit.progress import SILENT
from llmkit.train import metrics
from llmkit.train.balance import ExpertUse
from llmkit.train.evaluate import Evaluation
from llmkit.train.guard import Spike
from llmkit.train.metrics import Cost, RunLog
from llmkit.train.step_profile import OperatorCost
from llmkit.train.trainer import StepResult


class Notes:
    """A Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.fields: dict[str, Any] = {}

    def update(self, done: float, total: float | None = None, **fields: float | str) -> None:
        self.fields = {"done": done, "total": total, **fields}

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that RunLog sees; change it to let time pass."""
    now = [100.0]
    monkeypatch.setattr(metrics.time, "monotonic", lambda: now[0])
    return now


def build(records: list[dict[str, Any]], progress: Any = SILENT, before: float = 0.0) -> RunLog:
    cost = Cost(flops_per_token=1e6, peak_flops_per_second=1e9)
    return RunLog(
        [records.append], progress, cost, steps=10, seconds_before=before, memory_bytes=lambda: 1 << 20
    )


def test_a_step_has_the_fields_of_the_contract_and_their_values(clock: list[float]) -> None:
    records: list[dict[str, Any]] = []
    log = build(records, before=5.0)
    clock[0] += 2.0
    log.step(StepResult(1, 2.5, 0.7, 1e-3, 400), tokens=400)
    assert records == [
        {
            **{"time_seconds": 7.0, "step": 1, "tokens": 400, "loss": 2.5, "lr": 1e-3, "grad_norm": 0.7},
            **{"tokens_per_second": 200.0, "mfu": 0.2, "memory_bytes": 1 << 20},
        }
    ]


def test_time_between_steps_is_no_training_time(clock: list[float]) -> None:
    records: list[dict[str, Any]] = []
    log = build(records)
    clock[0] += 50.0
    log.resume_clock()
    clock[0] += 2.0
    log.step(StepResult(1, 2.5, 0.7, 1e-3, 400), tokens=400)
    assert records[0]["tokens_per_second"] == 200.0
    assert records[0]["time_seconds"] == 52.0


def test_an_evaluation_is_an_event_and_a_note(clock: list[float]) -> None:
    records: list[dict[str, Any]] = []
    notes = Notes()
    log = build(records, notes)
    log.evaluated(3, Evaluation(1.5, 2.25, 99))
    log.evaluated(4, Evaluation(1.5, None, 99))
    assert records[0] == {
        **{"event": "eval", "time_seconds": 0.0, "step": 3, "valid_loss": 1.5, "tokens": 99},
        "bits_per_byte": 2.25,
    }
    assert "bits_per_byte" not in records[1]
    assert notes.notes[0] == "step 3: validation loss 1.5000, 2.2500 bits per byte"


def test_a_skipped_update_is_recorded_and_said(clock: list[float]) -> None:
    records: list[dict[str, Any]] = []
    notes = Notes()
    clock[0] += 1.0
    build(records, notes).step(StepResult(1, float("inf"), 0.7, 1e-3, 400, "nonfinite"), tokens=400)
    assert records[0]["skipped"] == "nonfinite"
    assert "update left out (nonfinite: loss inf" in notes.notes[0]


def test_progress_shows_loss_speed_share_and_memory(clock: list[float]) -> None:
    notes = Notes()
    log = build([], notes)
    clock[0] += 2.0
    log.step(StepResult(1, 2.5, 0.7, 1e-3, 400), tokens=400)
    assert notes.fields == {
        **{"done": 1, "total": 10, "loss": "2.5000", "tok/s": "200", "MFU": "20.0%", "memory": "1 MiB"}
    }


def test_a_step_of_a_mixture_says_how_its_experts_were_used(clock: list[float]) -> None:
    records: list[dict[str, Any]] = []
    notes = Notes()
    log = build(records, notes)
    use = ExpertUse(2.125, ((5, 1, 1, 1), (2, 2, 2, 2)), 1.5)
    log.step(StepResult(1, 2.5, 0.7, 1e-3, 400, experts=use), tokens=400)
    told = ("balance_loss", "router_z_loss", "expert_load_max", "expert_loads")
    assert {name: records[0][name] for name in told} == {
        **{"balance_loss": 2.125, "router_z_loss": 1.5, "expert_load_max": 2.5},
        "expert_loads": [[2.5, 0.5, 0.5, 0.5], [1.0, 1.0, 1.0, 1.0]],
    }
    assert notes.fields["busiest expert"] == "2.50x"


def test_waiting_for_rows_and_norms_are_told_where_there_are_any(clock: list[float]) -> None:
    records: list[dict[str, Any]] = []
    log = build(records)
    clock[0] += 1.0
    layers = [{"name": "norm", "gradient": 1.0}]
    log.step(StepResult(2, 2.5, 0.7, 1e-3, 400, loader_seconds=0.00123456, norms=layers), tokens=800)
    assert records[0]["loader_seconds"] == 0.001235
    assert records[1] == {"event": "norms", "time_seconds": 1.0, "step": 2, "layers": layers}


def test_a_profile_is_an_event_and_a_table_for_a_person(clock: list[float]) -> None:
    records: list[dict[str, Any]] = []
    notes = Notes()
    log = build(records, notes)
    log.profiled(4, 5, "profile/x.gz", [OperatorCost("aten::mm", 12, 0.25, 0.98765)])
    told = [{"name": "aten::mm", "calls": 12, "seconds": 0.25, "share": 0.9877}]
    assert records == [
        {
            **{"event": "profile", "time_seconds": 0.0, "step": 5, "first_step": 4, "path": "profile/x.gz"},
            "operators": told,
        }
    ]
    assert (
        notes.notes[0].startswith("steps 4 to 5: profile/x.gz, a step:\noperator")
        and "98.8%" in notes.notes[0]
    )


def test_a_person_reads_of_the_first_of_many_updates_left_out_and_their_count_and_the_records_have_all(
    clock: list[float],
) -> None:
    records: list[dict[str, Any]] = []
    notes = Notes()
    log = build(records, notes)
    for step in range(1, 10):
        skipped = None if step in (1, 6, 8) else "nonfinite"
        log.step(StepResult(step, 2.0, 1.0, 1e-3, 400, skipped), tokens=400)  # type: ignore[arg-type]
    assert [one["step"] for one in records if "skipped" in one] == [2, 3, 4, 5, 7, 9]
    told = [(note.partition(":")[0], "updates left out" in note) for note in notes.notes]
    assert told == [("step 2", False), ("steps 2 to 5", True), ("step 7", False), ("step 9", False)]
    log.step(StepResult(10, 2.0, 1.0, 1e-3, 400, "nonfinite"), tokens=400)
    log.stopped(10, "nonfinite")
    assert notes.notes[4:] == ["steps 9 to 10: 2 updates left out"]
    assert (records[-1]["event"], records[-1]["step"], records[-1]["reason"]) == ("stop", 10, "nonfinite")


def test_what_was_left_out_is_told_before_the_run_goes_back(clock: list[float]) -> None:
    notes = Notes()
    log = build([], notes)
    for step in (5, 6):
        log.step(StepResult(step, 2.0, 1.0, 1e-3, 400, "nonfinite"), tokens=400)
    log.rewound(2, Spike(7, 9.0, 1.0), passed_rows=4, rewinds=1)
    log.step(StepResult(3, 2.0, 1.0, 1e-3, 400), tokens=400)
    assert [note.partition(":")[0] for note in notes.notes] == ["step 5", "steps 5 to 6", "step 7"]
