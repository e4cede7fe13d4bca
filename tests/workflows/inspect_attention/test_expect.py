"""--expect: names with thresholds, and the heads that meet them."""

import pytest
from worded_models import head_row

from llmkit.errors import UsageError
from llmkit.probe.attention.config import HeadClasses
from llmkit.workflows.inspect_attention.expect import check_expected, parse_expected, thresholds
from llmkit.workflows.inspect_attention.report import HeadRow


def head(layer: int, induction: float) -> HeadRow:
    return head_row(layer, 1, class_scores={"induction": induction, "local": 0.9})


def test_a_name_has_the_threshold_of_its_class_unless_one_is_given() -> None:
    assert parse_expected("induction") == ("induction", HeadClasses.induction)
    assert parse_expected("previous-token:0.25") == ("previous_token", 0.25)
    assert thresholds()["sink"] == 0.3
    with pytest.raises(UsageError, match="no head is called 'inducton'") as error:
        parse_expected("inducton")
    assert error.value.hint == "did you mean induction?"
    for wrong in ("sink:x", "sink:1.5", "sink:"):
        with pytest.raises(UsageError, match="is no share"):
            parse_expected(wrong)


def test_the_heads_that_meet_it_are_named_and_the_best_figure_is_told() -> None:
    met, missed = check_expected([head(0, 0.2), head(1, 0.7)], ["induction:0.5", "induction:0.8"], 100)
    assert (met.heads, met.best, met.threshold) == ([[1, 1]], 0.7, 0.5)
    assert (missed.heads, missed.best) == ([], 0.7)


def test_no_head_is_local_in_a_text_where_everything_is_near() -> None:
    (short,) = check_expected([head(0, 0.0)], ["local"], 39)
    (long,) = check_expected([head(0, 0.0)], ["local"], 40)
    assert short.heads == [] and long.heads == [[0, 1]]
