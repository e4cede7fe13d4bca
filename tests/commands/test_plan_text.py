"""What the plans and reports of all runs say: needs beside what there is, of one process and of several."""

from types import SimpleNamespace

from llmkit.commands.plan_text import end_rows, epochs, how_rows, need_rows, run_rows

MiB, GiB = 1 << 20, 1 << 30
PLAN = {
    **{
        "schedule": "cosine",
        "lr": 1e-4,
        "warmup_steps": 1,
        "device": "cpu",
        "dtype": "float32",
        "epochs": 1.0,
    },
    **{"threads": 2, "micro_batch_rows": 1, "memory_bytes": 400 * MiB, "memory_available_bytes": 12 * GiB},
    **{"disk_bytes": 45 * MiB, "disk_free_bytes": 100 * GiB, "checkpoint_bytes": 15 * MiB, "out": "run"},
    **{"total_seconds": 8.0, "time_source": "measured step", "step_seconds": 2.0, "resume_step": 1000},
    **{"processes": 1, "division": "one process", "all_memory_bytes": None, "sent_bytes": {}},
}
SEVERAL = {"processes": 4, "division": "dp 4", "sent_bytes": {"gradients": 10 * MiB}}


def test_one_process_has_what_there_is() -> None:
    plan = SimpleNamespace(**PLAN)
    assert epochs(plan) == "1 epoch" and epochs(SimpleNamespace(epochs=0.5)) == "0.5 epochs"
    assert how_rows(plan)[0] == ("rate", "cosine, peak 0.0001, warm-up 1 step")
    assert how_rows(plan)[1:] == [("device", "cpu, float32, 2 threads"), ("passes", "1 row each")]
    assert need_rows(plan)[0] == ("memory", "400.0 MiB of 12.0 GiB available")
    assert need_rows(plan)[-1][1].endswith("(measured step, 2 s a step)")
    assert end_rows(plan) == [("begins", "at step 1,000"), ("writes", "run")]


def test_a_run_without_a_speed_says_none_and_updates_left_out_are_told() -> None:
    took = {
        "seconds": 90.0,
        "tokens_per_second": None,
        "mfu": None,
        "memory_bytes": 3 * MiB,
        "skipped_steps": 0,
    }
    assert run_rows(SimpleNamespace(**took)) == [("time", "1 m 30 s"), ("memory", "3.0 MiB")]
    took |= {"tokens_per_second": 1234.5, "mfu": 0.25, "skipped_steps": 2}
    assert run_rows(SimpleNamespace(**took))[1] == ("speed", "1,234 tokens/s, 25.0% MFU")
    assert run_rows(SimpleNamespace(**took))[-1] == ("left out", "2 updates")


def test_several_on_one_machine_have_it_together_and_on_gpus_each_its_own() -> None:
    rows = need_rows(SimpleNamespace(**{**PLAN, **SEVERAL, "all_memory_bytes": 1600 * MiB}))
    assert rows[:4] == [
        ("processes", "4 (dp 4)"),
        ("memory", "400.0 MiB in the first process"),
        ("", "1.6 GiB of 12.0 GiB available in all here"),
        ("sent", "10.0 MiB a step by each process (gradients 10.0 MiB)"),
    ]
    apart = need_rows(SimpleNamespace(**{**PLAN, **SEVERAL}))
    assert apart[1] == ("memory", "400.0 MiB of 12.0 GiB available each")
