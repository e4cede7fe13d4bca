"""What the page is given, decoded again: every cell, every name, every table."""

import base64
import json
import re
from typing import Any

import pytest
import torch
from worded_models import head_row, report_of

from llmkit.probe.attention.region import RegionMap
from llmkit.workflows.inspect_attention.html import html_page, page_cells
from llmkit.workflows.inspect_attention.report import (
    AblationPart,
    AblationRow,
    AttributionPart,
    DifferencePart,
    DifferenceRow,
    InspectReport,
    LensLayerRow,
    LensPart,
)

NONE = float("-inf")
MAPS = [
    RegionMap(0, 0, [0, 1, 2], [0, 1, 2], torch.tensor([[1.0, NONE], [0.25, 0.75]])),
    RegionMap(1, 1, [0, 1, 2], [0, 1, 2], torch.tensor([[1.0, NONE], [0.0, 1.0]])),
]
HEADS = [head_row(0, 0), head_row(1, 1, classes=["sink"], induction_stripe=0.8)]


def given(report: InspectReport) -> dict[str, Any]:
    """The data of the page, as its script reads it."""
    page = html_page(report, MAPS)
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None and page.count("<script") == 2
    return dict(json.loads(found[1]))


def test_cells_are_bytes_that_give_the_weights_again() -> None:
    data = given(report_of(["a", "</script><b>"], heads=HEADS))
    cells = base64.b64decode(data["maps"][0]["cells"])
    assert len(cells) == 4 and cells[1] == 0  # the key that is not seen
    assert [((one - 1) / 254) ** 2 for one in cells if one] == pytest.approx([1.0, 0.25, 0.75], abs=0.01)
    assert data["tokens"] == ["a", "</script><b>"]  # and the page did not end there
    assert len(data["ramp"]) == 256 and data["ramp"][255] == [252, 255, 164]


def test_the_head_with_a_class_is_shown_first_and_figures_are_told() -> None:
    data = given(report_of(["a", "b"], heads=HEADS))
    assert data["first"] == 1 and data["maps"][1]["classes"] == ["sink"]
    assert "stripe 0.80" in data["maps"][1]["figures"] and "previous 0.13" in data["maps"][0]["figures"]
    (table,) = data["parts"]
    assert table["rows"][1][:2] == ["1.1", "sink"] and table["rows"][1][8] == "0.80"
    assert all(len(row) == len(table["head"]) for row in table["rows"])


def test_scores_come_with_their_range() -> None:
    data = given(report_of(["a", "b"], heads=HEADS, before_softmax=True))
    assert (data["scores"], data["maps"][0]["low"], data["maps"][0]["high"]) == (True, 0.25, 1.0)
    cells = base64.b64decode(data["maps"][0]["cells"])
    assert list(cells) == [255, 0, 1, 1 + round(254 * (0.75 - 0.25) / 0.75)]


def test_each_part_that_was_asked_for_has_a_table() -> None:
    query = report_of(["a", "b"]).tokens[1]
    layer = {"rank": 1, "probability": 0.5, "kl_nats": 0.1, "top": "<x>", "top_id": 9, "top_probability": 0.6}
    change = {"loss_change_nats": None, "kl_nats": 0.1, "logit_change": -0.5, "probability_change": -0.1}
    moved = {"entropy_change_nats": 0.1, "sink_change": 0.2, "induction_change": -0.3}
    target = {"query": query, "target": "t", "target_id": 3}
    report = report_of(
        ["a", "b"],
        heads=HEADS,
        lens=LensPart(
            **{"query": query, "answer": "t", "answer_id": 3, "first_final": 0, "settled": 0},
            layers=[LensLayerRow(layers=0, **layer)],
        ),
        ablation=AblationPart(by="mean", heads=[AblationRow(layer=1, head=1, **change)], **target),
        attribution=AttributionPart(
            **{"logit": 1.0, "embedding": 0.5, "heads": [[0.1], [-0.9]], "attention_biases": [0.0]},
            **{"mlps": [0.2], "bias": 0.1, "total": 1.0, "capped_logit": 0.75},
            **target,
        ),
        difference=DifferencePart(other="o", heads=[DifferenceRow(layer=1, head=1, js_nats=0.2, **moved)]),
    )
    parts = {one["title"]: one for one in given(report)["parts"]}
    assert list(parts) == ["Figures", "Against o", "Logit lens", "Ablation", "Direct logit attribution"]
    assert parts["Against o"]["rows"] == [["1.1", "0.2", "+0.100", "+0.200", "-0.300"]]
    assert parts["Logit lens"]["rows"] == [["0", "1", "0.5000", "0.100", '"<x>"', "0.600"]]
    assert parts["Ablation"]["picks"] and parts["Ablation"]["rows"][0][0] == "1.1"
    assert parts["Direct logit attribution"]["words"].startswith("Logit 1.000 (capped softly: 0.750) of ")
    assert parts["Direct logit attribution"]["rows"] == [["1.0", "-0.900"], ["0.0", "+0.100"]]


def test_many_heads_have_smaller_maps() -> None:
    assert page_cells(1) == page_cells(40) == 256
    assert 100 < page_cells(1024) < 256 and page_cells(1024) ** 2 * 1024 <= 16_000_000
