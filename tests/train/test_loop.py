"""What falls due when, and what happens when the run is asked to stop."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from llmkit.errors import DataError, LlmkitError
from llmkit.train.best import Best
from llmkit.train.evaluate import Evaluation
from llmkit.train.guard import BadUpdateError, Spike
from llmkit.train.loop import Duties, train
from llmkit.train.parallel.ranks import ALONE
from llmkit.train.stop import StopRequest


@dataclass
class Diary:
    """Stands in for trainer, log and duties, and writes down what was called."""

    steps: int = 10
    step: int = 0
    tokens: int = 0
    lines: list[str] = field(default_factory=list)

    @property
    def recipe(self) -> Any:
        return SimpleNamespace(steps=self.steps)

    ranks = ALONE
    spikes: list[int] = field(default_factory=list)

    def train_step(self) -> int:
        if self.step + 1 in self.spikes:
            self.spikes.remove(self.step + 1)
            raise Spike(self.step + 1, 9.0, 1.0)
        self.step += 1
        return self.step

    def log(self) -> Any:
        return SimpleNamespace(
            step=lambda result, tokens: self.lines.append(f"step {result}"),
            evaluated=lambda step, result: self.lines.append(f"evaluated {step}"),
            sampled=lambda step, prompt, text: self.lines.append(f"sampled {step} {text}"),
            resume_clock=lambda: None,
        )

    def duties(self, **fields: Any) -> Duties:
        return Duties(save=lambda: self.lines.append(f"saved {self.step}"), **fields)


@dataclass
class Stop:
    """Asks to stop once `when` is true."""

    when: Callable[[], bool] = lambda: False
    what: Any = "sigterm"
    held: bool = False

    @property
    def reason(self) -> Any:
        return self.what if self.when() else None

    def hold(self) -> None:
        self.held = True


def run(diary: Diary, duties: Duties, stop: Any = None, **settings: Any) -> Any:
    return train(diary, duties, diary.log(), stop or Stop(), **settings)  # type: ignore[arg-type]


def test_everything_is_done_when_it_is_due_and_at_the_end() -> None:
    diary = Diary(steps=5)
    duties = diary.duties(
        eval_every=2,
        evaluate=lambda between: Evaluation(1.0, None, 1),
        sample_every=3,
        sample=lambda step: [("p", "text")],
        checkpoint_every=4,
    )
    assert run(diary, duties) is None
    assert diary.lines == [
        *("step 1", "step 2", "evaluated 2", "step 3", "sampled 3 text"),
        *("step 4", "evaluated 4", "saved 4", "step 5", "evaluated 5", "saved 5"),
    ]


def test_a_request_saves_at_the_end_of_the_step_and_says_why() -> None:
    diary = Diary()
    assert run(diary, diary.duties(checkpoint_every=100), Stop(lambda: diary.step == 3)) == "sigterm"
    assert diary.lines[-2:] == ["step 3", "saved 3"]


def test_a_request_at_the_last_step_comes_too_late() -> None:
    diary = Diary(steps=3)
    assert run(diary, diary.duties(), Stop(lambda: diary.step == 3)) is None


@pytest.mark.parametrize("quick", [True, False])
def test_ctrl_c_saves_only_what_is_saved_at_once(quick: bool) -> None:
    diary = Diary()
    stop = Stop(lambda: diary.step == 3, what="sigint")
    assert run(diary, diary.duties(can_save_at_once=lambda: quick), stop) == "sigint"
    assert diary.lines[-1] == ("saved 3" if quick else "step 3")
    assert stop.held


def test_a_request_cuts_an_evaluation_short_which_is_then_owed() -> None:
    diary, asked = Diary(steps=4), [False]

    def score(between: Callable[[], None]) -> Evaluation:
        asked[0] = not asked[0]  # the request comes during the first evaluation
        between()
        return Evaluation(1.0, None, 1)

    duties = diary.duties(eval_every=4, evaluate=score)
    assert run(diary, duties, Stop(lambda: asked[0])) == "sigterm"
    assert diary.lines[-2:] == ["step 4", "saved 4"]
    assert run(diary, duties, Stop(lambda: asked[0]), owed=True) is None
    assert diary.lines[-1] == "evaluated 4"


def test_a_complete_run_has_nothing_to_do() -> None:
    diary = Diary(steps=4, step=4)
    assert run(diary, diary.duties(), StopRequest()) is None
    assert diary.lines == []


def test_the_model_is_scored_and_sampled_before_the_first_update_where_that_is_asked_for() -> None:
    diary = Diary(steps=2)
    duties = diary.duties(
        from_the_start=True,
        evaluate=lambda between: Evaluation(1.0, None, 1),
        sample=lambda step: [("p", "text")],
    )
    assert run(diary, duties, owed=True) is None
    assert diary.lines == [
        *("evaluated 0", "sampled 0 text", "step 1", "step 2", "evaluated 2", "saved 2"),
    ]


def test_a_better_evaluation_is_saved_at_once_and_too_many_worse_ones_end_the_run() -> None:
    diary = Diary(steps=10)
    losses = {1: 3.0, 2: 2.0, 3: 2.5, 4: 2.6}
    duties = diary.duties(
        eval_every=1,
        evaluate=lambda between: Evaluation(losses[diary.step], None, 1),
        best=Best(patience=2),
    )
    assert run(diary, duties) is None
    saved = [line for line in diary.lines if line.startswith("saved")]
    assert saved == ["saved 1", "saved 2", "saved 4"]  # the last one because the run is over
    assert diary.step == 4
    assert run(diary, duties) is None and diary.step == 4  # over is over


def test_checkpoints_that_stay_are_made_where_others_are_not_due() -> None:
    diary = Diary(steps=7)
    assert run(diary, diary.duties(checkpoint_every=4, keep_every=3)) is None
    assert [line for line in diary.lines if line.startswith("saved")] == [
        f"saved {step}" for step in (3, 4, 6, 7)
    ]


def test_a_spike_takes_the_run_back_and_nothing_is_told_of_its_step() -> None:
    diary = Diary(steps=5, spikes=[4])

    def back(spike: Spike) -> None:
        diary.lines.append(f"back from {spike.step}")
        diary.step = 2

    assert run(diary, diary.duties(checkpoint_every=2, rewind=back)) is None
    assert diary.lines == [
        *("step 1", "step 2", "saved 2", "step 3", "back from 4"),
        *("step 3", "step 4", "saved 4", "step 5", "saved 5"),
    ]


def test_a_spike_that_nobody_takes_back_is_not_swallowed() -> None:
    diary = Diary(spikes=[2])
    with pytest.raises(Spike, match=r"step 2: loss 9"):
        run(diary, diary.duties())


def test_the_step_before_an_update_without_anything_to_learn_from_is_told() -> None:
    diary = Diary()

    def refuse(number: int) -> Any:
        if number == 3:
            raise DataError("the judge is gone", hint="h")
        return nullcontext()

    def rescue(told: LlmkitError) -> None:
        diary.lines.append(f"rescued {diary.step}: {told.problem}")

    with pytest.raises(DataError, match="the judge is gone"):
        run(diary, diary.duties(watch=refuse, rescue=rescue))
    assert diary.lines == ["step 1", "step 2", "rescued 2: the judge is gone"]


@pytest.mark.parametrize("of_rewind", [False, True])
def test_an_update_that_ends_the_run_is_told_before_it_does(of_rewind: bool) -> None:
    diary, bad = Diary(spikes=[3] if of_rewind else []), BadUpdateError("spike", "step 3 is bad", hint="h")

    def refuse(number: int) -> Any:
        if number == 3 and not of_rewind:
            raise bad
        return nullcontext()

    def back(spike: Spike) -> None:
        raise bad

    def rescue(told: LlmkitError) -> None:
        diary.lines.append(f"rescued {diary.step}: {told.problem}")

    duties = diary.duties(
        watch=refuse, rewind=back, rescue=rescue, settle=lambda: diary.lines.append("settled")
    )
    with pytest.raises(BadUpdateError, match="step 3 is bad"):
        run(diary, duties)
    assert diary.lines == ["step 1", "step 2", "rescued 2: step 3 is bad", "settled"]
