"""The strongest pairs against a sort of whole rows."""

from typing import Any

import pytest
import torch
from attention_by_hand import FORMS, dense, random_layer

from llmkit.errors import UsageError
from llmkit.probe.attention import edges
from llmkit.probe.attention.edges import Edge, top_edges


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_edges_are_the_strongest_of_each_row(form: dict[str, Any]) -> None:
    layer = random_layer(**form)
    scores, weights, _ = dense(layer, 1)
    expected = []
    for query in range(23):
        seen = [key for key in range(query + 1) if weights[query, key] > 0]
        best = sorted(seen, key=lambda key: (-float(weights[query, key]), key))[:3]
        expected += [(query, key, float(weights[query, key]), float(scores[query, key])) for key in best]
    found = list(top_edges(layer, 1, 3, dtype=torch.float64))
    assert [(one.query, one.key) for one in found] == [(query, key) for query, key, _, _ in expected]
    assert [one.weight for one in found] == pytest.approx([weight for _, _, weight, _ in expected])
    assert [one.score for one in found] == pytest.approx([score for _, _, _, score in expected])
    assert {(one.layer, one.head) for one in found} == {(3, 1)}


def test_queries_are_those_asked_for_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = random_layer(window=7)
    every = list(top_edges(layer, -2, 2))
    wanted = [one for query in (20, 3, 22) for one in every if one.query == query]
    monkeypatch.setattr(edges, "BLOCK_NUMBERS", 1)
    found = list(top_edges(layer, 2, 2, [20, 3, -1]))
    assert [(one.query, one.key) for one in found] == [(one.query, one.key) for one in wanted]
    assert [one.weight for one in found] == pytest.approx([one.weight for one in wanted], rel=1e-5)
    assert list(top_edges(layer, 2, 2, [])) == []


def test_of_equals_the_earlier_key_comes_first() -> None:
    layer = random_layer(6)
    layer.q.zero_()
    found = list(top_edges(layer, 0, 9, [4]))
    assert [one.key for one in found] == [0, 1, 2, 3, 4]
    assert found[0] == Edge(3, 0, 4, 0, pytest.approx(0.2), 0.0)  # type: ignore[arg-type]


def test_no_edges_at_all_are_not_to_be_had() -> None:
    with pytest.raises(UsageError, match="the 0 strongest"):
        list(top_edges(random_layer(), 0, 0))
