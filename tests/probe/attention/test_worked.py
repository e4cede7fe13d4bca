"""The worked example against sums done by hand, and against rows."""

import math
from typing import Any

import pytest
import torch
from attention_by_hand import FORMS, random_layer

from llmkit.errors import UsageError
from llmkit.model.window import ALL
from llmkit.probe.attention.capture import Captured
from llmkit.probe.attention.rows import frame_of, head_output, rows_of
from llmkit.probe.attention.worked import worked_example


def test_every_step_is_what_a_reader_gets_by_hand() -> None:
    o_proj = torch.nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        o_proj.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    layer = Captured(
        layer=0,
        q=torch.tensor([[[0.0, 0.0], [0.0, 0.0], [1.0, 2.0]]]),
        k=torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]]),
        v=torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]]),
        scale=0.5,
        softcap=None,
        window=ALL,
        sinks=None,
        o_proj=o_proj,
    )
    found = worked_example(layer, 0, 2)
    assert found.keys == [0, 1, 2] and found.q.tolist() == [1, 2] and found.k.tolist()[2] == [1, 1]
    assert found.products == [1, 2, 3]
    assert found.scaled == found.capped == [0.5, 1.0, 1.5]
    e = math.exp
    total = e(-1) + e(-0.5) + 1
    assert found.exponentials == pytest.approx([e(-1), e(-0.5), 1], rel=1e-15)
    assert found.weights == pytest.approx([e(-1) / total, e(-0.5) / total, 1 / total], rel=1e-15)
    mixed = [(e(-1) + 1) / total, (e(-0.5) + 1) / total]
    assert found.mixed.tolist() == pytest.approx(mixed, rel=1e-15)
    assert found.output.tolist() == pytest.approx([2 * mixed[0], mixed[1]], rel=1e-6)
    assert found.sink is None and found.null == 0


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_it_is_the_row_that_the_layer_has(form: dict[str, Any]) -> None:
    layer = random_layer(**form)
    for head, query in ((0, 0), (2, 17), (-1, -1)):
        found = worked_example(layer, head, query)
        frame = frame_of(layer, torch.tensor([found.query]))
        row, seen = rows_of(layer, found.head, frame, dtype=torch.float64), ~frame.hidden[0]
        torch.testing.assert_close(torch.tensor(found.weights, dtype=torch.float64), row.weights[0][seen])
        torch.testing.assert_close(torch.tensor(found.capped, dtype=torch.float64), row.scores[0][seen])
        assert found.null == pytest.approx(float(row.null[0]), abs=1e-15)
        assert sum(found.weights) + found.null == pytest.approx(1, abs=1e-14)
        assert found.keys == (seen.nonzero()[:, 0] + frame.first).tolist()
        torch.testing.assert_close(found.output, head_output(layer, found.head, found.mixed[None])[0])
    assert (found.head, found.query) == (3, 22)
    with pytest.raises(UsageError, match="no token 23"):
        worked_example(layer, 0, 23)
