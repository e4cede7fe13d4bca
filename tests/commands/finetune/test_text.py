"""The report and the plan as people read them."""

from types import SimpleNamespace

from llmkit.commands.finetune.text import describe_plan, describe_report

AUDIT = SimpleNamespace(
    records=10,
    examples=9,
    tokens=400,
    learnt_tokens=100,
    faults={"answer.empty": 1},
    first={"answer.empty": "a.jsonl:3: the answer has no text"},
)
REPORT = {
    **{"kind": "adapter", "out": "run", "trained_parameters": 1000, "steps": 6, "planned_steps": 10},
    **{"tokens": 600, "audit": AUDIT, "loss": 0.5, "valid_loss_base": 0.6931, "valid_loss": 0.61},
    **{"best_step": 4, "valid": {"reward_accuracy": 0.75}, "reward_accuracy_interval": (0.6, 0.85)},
    **{"kl_to_base": 0.02, "seconds": 61.0, "tokens_per_second": 100.0, "mfu": 0.1, "memory_bytes": 1 << 20},
    **{"skipped_steps": 0, "samples": [SimpleNamespace(prompt="hi", before="x", after="hello")]},
}


def test_a_report_tells_the_gain_its_interval_and_what_was_found() -> None:
    text = describe_report(SimpleNamespace(**REPORT))
    for part in (
        *("6 of 10, ended early", "0.6931 before, 0.6100 at step 4", "0.75  (95 %: 0.6 to 0.85)"),
        *(
            "9 of 10 records",
            "(25%)",
            "answer.empty: 1 (a.jsonl:3",
            "0.02 nats",
            "before: x",
            "after:  hello",
        ),
    ):
        assert part in text, part


def test_what_a_run_has_no_figure_for_is_left_out() -> None:
    bare = REPORT | {"valid_loss": None, "kl_to_base": None, "tokens_per_second": None, "samples": []}
    text = describe_report(SimpleNamespace(**bare | {"valid": {}, "steps": 10}))
    assert not any(word in text for word in ("validation", "KL", "tokens/s", "ended early", "before"))


def test_a_plan_says_what_is_trained_and_what_it_takes() -> None:
    plan = SimpleNamespace(
        **{"epochs": 2.0, "trained_parameters": 5000, "kind": "qlora", "parameters": 10**6, "method": "dpo"},
        **{"audit": AUDIT, "rows": 7, "seq_len": 64, "valid_rows": 3, "steps": 4, "batch_rows": 2},
        **{"schedule": "cosine", "lr": 1e-4, "warmup_steps": 1, "device": "cpu", "dtype": "float32"},
        **{"threads": 1, "micro_batch_rows": 2, "memory_bytes": 1 << 20, "memory_available_bytes": 1 << 30},
        **{"disk_bytes": 1 << 20, "disk_free_bytes": 1 << 30, "checkpoint_bytes": 1 << 10},
        **{"total_seconds": 8.0, "time_source": "measured step", "step_seconds": 2.0, "resume_step": 0},
        **{"processes": 1, "evaluations": 3, "evaluation_rows": 8, "evaluation_seconds": 5.0},
        **{"answers_per_row": 4},
        out="run",
    )
    text = describe_plan(plan)
    for part in (
        "in adapters, which are trained",
        "dpo, qlora",
        "4 steps of 2 rows with 4 answers each, 2 epochs",
        "2 epochs",
        "1.0 MiB of 1.0 GiB available",
        "5.0 s of that (3 times 8 rows)",
    ):
        assert part in text, part
