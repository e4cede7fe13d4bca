"""Which of the two kinds of scorers is opened, and that neither reads weights."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import MissingError
from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.plan import Planned, PlanningScorer
from llmkit.workflows.eval.scorer import ModelOptions


def test_a_plan_is_a_scorer_that_stops_at_the_first_text(spelled_model: Callable[..., Path]) -> None:
    options = ModelOptions(model=spelled_model())
    assert not isinstance(open_scorer(options, longest=8), PlanningScorer)
    planning = open_scorer(ModelOptions(model=options.model, plans=True), longest=8)
    assert isinstance(planning, PlanningScorer) and planning.longest == 8
    with pytest.raises(Planned) as found:
        next(planning.score([([5, 6, 7], 1), ([5, 6], 1)]))
    assert (found.value.plan.texts, found.value.plan.prompt_tokens) == (2, 5)


def test_a_model_that_is_not_there_is_missing_to_both(tmp_path: Path) -> None:
    for plans in (False, True):
        with pytest.raises(MissingError):
            open_scorer(ModelOptions(model=tmp_path / "none", plans=plans))
