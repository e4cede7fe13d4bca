"""Two models head by head, against the textbook formula over transformers' attention weights."""

import math
from dataclasses import replace

import pytest
import torch
from family_models import Pair, make_pair
from torch import Tensor

from llmkit.errors import DataError
from llmkit.model.window import Window
from llmkit.probe.attention.capture import Captured, capture
from llmkit.probe.attention.difference import head_difference, head_divergences
from llmkit.probe.attention.statistics import head_statistics

IDS = torch.tensor([5, 9, 5, 9, 11, 3, 5, 30, 31, 9])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    return [make_pair("llama", {}, tmp_path_factory.mktemp(f"m{seed}"), seed=seed) for seed in (0, 1)]


def layer_of(pair: Pair) -> Captured:
    (captured,) = capture(pair.ours, IDS, [2])
    return captured


def js_by_hand(p: Tensor, q: Tensor) -> float:
    """Half of KL(p, m) and half of KL(q, m), row by row."""
    rows = []
    for a, b in zip(p.tolist(), q.tolist(), strict=True):
        m = [(x + y) / 2 for x, y in zip(a, b, strict=True)]
        rows.append(
            sum(0.5 * x * math.log(x / z) for one in (a, b) for x, z in zip(one, m, strict=True) if x)
        )
    return sum(rows) / len(rows)


def test_js_is_that_of_the_attention_weights_of_transformers(pairs: list[Pair]) -> None:
    with torch.no_grad():
        p, q = (pair.theirs(IDS[None], output_attentions=True).attentions[2][0] for pair in pairs)
    found = head_divergences(*map(layer_of, pairs), [0, 3])
    assert found == pytest.approx([js_by_hand(p[head], q[head]) for head in (0, 3)], abs=1e-6)
    assert min(found) > 0.01


def test_a_model_beside_itself_differs_by_nothing(pairs: list[Pair]) -> None:
    layer = layer_of(pairs[0])
    (js,) = head_divergences(layer, layer, [1])
    (mine,) = head_statistics(layer, IDS, heads=[1])
    same = head_difference(mine, mine, js)
    assert (same.js, same.entropy, same.sink, same.induction) == (0.0, 0.0, 0.0, 0.0)
    assert (same.layer, same.head) == (2, 1)


def test_changes_are_the_other_models_figures_less_the_first_ones(pairs: list[Pair]) -> None:
    (first,), (other,) = (head_statistics(layer_of(pair), IDS, heads=[1]) for pair in pairs)
    found = head_difference(first, other, 0.25)
    assert found.entropy == other.entropy - first.entropy and found.js == 0.25
    assert found.sink == other.bos_mass - first.bos_mass
    assert found.induction == other.induction.score() - first.induction.score()
    assert head_difference(first, other, 0.0, stripes=(0.2, 0.9)).induction == pytest.approx(0.7)


def test_a_window_and_a_learnt_sink_on_one_side_count(pairs: list[Pair]) -> None:
    layer = layer_of(pairs[0])
    narrow = replace(layer, window=Window(1))  # sees itself alone
    with torch.no_grad():
        p = pairs[0].theirs(IDS[None], output_attentions=True).attentions[2][0][1]
    (found,) = head_divergences(layer, narrow, [1])
    assert found == pytest.approx(js_by_hand(p, torch.eye(10)), abs=1e-6)
    (again,) = head_divergences(narrow, layer, [1])
    assert again == pytest.approx(found, abs=1e-7)
    sunk = replace(layer, sinks=torch.full((4,), 100.0))  # takes everything
    (apart,) = head_divergences(layer, sunk, [1])
    assert apart == pytest.approx(math.log(2), abs=1e-6)


def test_other_shapes_are_refused(pairs: list[Pair]) -> None:
    layer = layer_of(pairs[0])
    (shorter,) = capture(pairs[0].ours, IDS[:-1], [2])
    with pytest.raises(DataError, match="4 heads over 10 tokens, against 4 over 9"):
        head_divergences(layer, shorter, [0])
