"""Lens, ablation and attribution of a real small model: what is reported is what the core found."""

from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.workflows.inspect_attention.answer import (
    answer_id,
    heads_to_ablate,
    see_ablation,
    see_attribution,
    see_lens,
)
from llmkit.workflows.inspect_attention.config import InspectText, InspectViews
from llmkit.workflows.inspect_attention.open import Inspected, InspectOptions, open_inspected
from llmkit.workflows.inspect_attention.text import Reading, read_text


@pytest.fixture(scope="module")
def opened(shared_data: Path) -> Inspected:
    return open_inspected(InspectOptions(model=shared_data / "models" / "stories260K"))


@pytest.fixture(scope="module")
def reading(opened: Inspected) -> Reading:
    return read_text(opened, InspectText(given="Once upon a time, there was a little girl"))


def test_the_answer_appears_in_the_lens_before_the_last_layer(opened: Inspected, reading: Reading) -> None:
    lens = see_lens(opened, reading, len(reading.ids) - 1, None)
    assert lens.answer == " named" == lens.layers[-1].top and lens.query.text == "l"
    assert [one.layers for one in lens.layers] == list(range(6))
    assert lens.layers[0].top == "l" and lens.first_final == lens.settled == 3
    assert lens.layers[-1].kl_nats == 0.0 and lens.layers[-1].probability > 0.9
    other = see_lens(opened, reading, 3, answer_id(opened, "time"))
    assert other.answer == " time" and other.query.text == " a" and other.layers[-1].rank == 1


def test_what_is_ablated_are_the_heads_named_or_all_and_the_target_is_the_texts_next_token(
    opened: Inspected, reading: Reading
) -> None:
    views = InspectViews(ablate=((4, 0), (0, 3)))
    part = see_ablation(opened, reading, 3, None, views)
    assert [(one.layer, one.head) for one in part.heads] == [(4, 0), (0, 3)] and part.by == "zero"
    assert part.target == " time" and part.query.text == " a"
    mean = see_ablation(opened, reading, 3, None, InspectViews(ablate=((4, 0),), ablate_by="mean"))
    assert mean.by == "mean" and mean.heads[0].kl_nats != part.heads[0].kl_nats
    assert len(heads_to_ablate(opened, InspectViews(ablate="all"))) == 40
    with pytest.raises(UsageError, match=r"no head 5\.0"):
        heads_to_ablate(opened, InspectViews(ablate=((5, 0),)))


def test_the_parts_of_the_logit_add_up(opened: Inspected, reading: Reading) -> None:
    part = see_attribution(opened, reading, len(reading.ids) - 1, None)
    assert part.target == " named" and len(part.heads) == 5 and len(part.heads[0]) == 8
    whole = (
        part.embedding + sum(map(sum, part.heads)) + sum(part.attention_biases) + sum(part.mlps) + part.bias
    )
    assert whole == pytest.approx(part.total) == pytest.approx(part.logit, abs=1e-3)


def test_an_answer_that_is_no_token_is_refused(opened: Inspected) -> None:
    assert answer_id(opened, None) is None
    with pytest.raises(UsageError, match="'elephant' is"):
        answer_id(opened, "elephant")
