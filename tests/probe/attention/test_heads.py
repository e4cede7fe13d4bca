"""Names of heads that were built to have them, and of a real model's."""

from pathlib import Path

import pytest
import torch
from attention_by_hand import BOS, REPEATED, planted_model, random_layer

from llmkit.model.load import load_model
from llmkit.probe.attention.capture import capture
from llmkit.probe.attention.config import HeadClasses
from llmkit.probe.attention.heads import HEAD_CLASSES, class_scores, classify
from llmkit.probe.attention.patterns import induction_stripe, repeated_random_ids
from llmkit.probe.attention.statistics import head_statistics


def test_planted_heads_have_their_names() -> None:
    ids = repeated_random_ids(BOS, REPEATED, torch.Generator().manual_seed(0), bos=BOS)
    names = {}
    for layer in capture(planted_model(), ids):
        stripes = induction_stripe(layer, REPEATED)
        for one in head_statistics(layer, ids):
            names[one.layer, one.head] = classify(one, stripe=stripes[one.head])
            expected = 1.0 if (one.layer, one.head) == (1, 0) else 0.0
            assert stripes[one.head] == pytest.approx(expected, abs=0.1 if not expected else 0.01)
    assert names == {
        (0, 0): ["previous_token", "local"],
        (0, 1): ["sink"],
        (0, 2): ["uniform"],
        (1, 0): ["induction", "current_token"],  # at itself while nothing has been there before
        (1, 1): ["duplicate", "current_token"],
        (1, 2): ["current_token", "local"],
    }


def test_a_name_is_given_from_its_threshold_on() -> None:
    one = head_statistics(random_layer(60), torch.arange(60))[0]
    for name, score in class_scores(one).items():
        if not 0 < score < 1:
            continue
        assert name in classify(one, HeadClasses(**{name: score}))
        assert name not in classify(one, HeadClasses(**{name: score + 1e-9}))


def test_everything_is_near_in_a_short_text() -> None:
    short = head_statistics(random_layer(39), torch.arange(39))[0]
    assert "local" not in classify(short, HeadClasses(local=0.01))
    assert "local" in classify(short, HeadClasses(local=0.01, local_windows=3))


def test_the_stripe_decides_on_induction_where_it_was_measured() -> None:
    one = head_statistics(random_layer(20), torch.arange(20))[0]
    assert "induction" not in classify(one) and "induction" in classify(one, stripe=0.5)
    assert tuple(class_scores(one)) == HEAD_CLASSES


def test_a_real_models_induction_head_is_found(shared_data: Path) -> None:
    model = load_model(shared_data / "models" / "induction-2l1h")
    ids = repeated_random_ids(27, 12, torch.Generator().manual_seed(0))
    found = {}
    for layer in capture(model, ids):
        (one,) = head_statistics(layer, ids)
        found[layer.layer] = (induction_stripe(layer, 12)[0], one.previous.score())
    assert found[1][0] > 0.7 and found[0][0] < 0.1  # the second layer copies
    assert found[0][1] > 0.5 and found[1][1] < 0.1  # with what the first layer tells it of the token before
