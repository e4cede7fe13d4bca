"""Two reports as tables, and that their curve is there."""

from llmkit.commands.pretrain.trial_text import describe_trial
from llmkit.train.trial import RatePoint
from llmkit.workflows.pretrain.trial import FindLrReport, OverfitPoint, OverfitReport

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
    import msgspec

    report = msgspec.structs.replace(FOUND, suggested_lr=None, steepest_lr=None, diverged=True)
    text = describe_trial(report)
    assert "suggested  none: the loss never fell" in text and "at 1, the loss above its first" in text
