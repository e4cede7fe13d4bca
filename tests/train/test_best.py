"""Which evaluation counts as the best, and when a run is over."""

import math

from llmkit.train.best import Best


def test_the_first_lowest_loss_is_the_best_and_an_equal_one_is_not() -> None:
    best = Best()
    assert [best.judge(step, loss) for step, loss in enumerate([3.0, 2.0, 2.0, 2.5, 1.0], 1)] == [
        *(True, True, False, False, True),
    ]
    assert (best.step, best.loss, best.stale, best.is_over) == (5, 1.0, 0, False)


def test_a_run_is_over_after_as_many_evaluations_without_a_better_one_as_it_has_patience() -> None:
    best = Best(patience=2)
    best.judge(0, 1.0)
    over = []
    for step, loss in ((1, 1.5), (2, 0.9), (3, 0.9), (4, 1.0)):
        best.judge(step, loss)
        over.append(best.is_over)
    assert over == [False, False, False, True] and best.step == 2


def test_a_loss_that_is_no_number_is_never_the_best() -> None:
    best = Best(patience=2)
    assert not best.judge(1, math.nan) and not best.judge(2, None)  # what JSON makes of nan
    assert best.step is None and best.is_over


def test_what_was_there_before_the_first_update_is_never_the_best() -> None:
    best = Best(patience=2)
    assert not best.judge(0, 1.0) and (best.step, best.base, best.stale) == (None, 1.0, 0)
    assert best.judge(1, 1.5) and (best.step, best.loss) == (1, 1.5)  # the best that a checkpoint has
