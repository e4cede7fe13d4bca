"""The report as JSON: its schema, and parts that were not asked for."""

import msgspec
from worded_models import head_row

from llmkit.workflows.inspect_attention.report import InspectReport, MapPart, TokenRow, head_lines


def test_the_report_has_its_schema_and_no_number_that_json_lacks() -> None:
    report = InspectReport(
        model="m",
        adapter=None,
        source="text",
        num_hidden_layers=1,
        num_attention_heads=1,
        dtype="float32",
        tokens=[TokenRow(position=0, id=5, text="a")],
        thresholds={"sink": 0.3},
        before_softmax=False,
        maps=[MapPart(layer=0, head=0, rows=[0, 1], cols=[0, 1], values=[[None]])],
    )
    found = msgspec.json.decode(msgspec.json.encode(report))
    assert found["schema"] == "llmkit.inspect-attention/1"
    assert found["heads"] is None and found["lens"] is None and found["maps"][0]["values"] == [[None]]
    assert msgspec.convert(found, InspectReport) == report


def test_a_head_of_two_names_has_two_lines_and_one_of_none_has_one() -> None:
    scores = {"sink": 0.7, "induction": 0.6}
    both, neither = (
        head_row(0, 1, classes=["sink", "induction"], class_scores=scores),
        head_row(1, 0, classes=[]),
    )
    lines = list(head_lines([both, neither]))
    assert [(one["layer"], one["head"], one["class"], one["score"]) for one in lines] == [
        (0, 1, "sink", 0.7),
        (0, 1, "induction", 0.6),
        (1, 0, None, None),
    ]
    assert lines[0]["class_scores"] == scores and lines[2]["entropy_nats"] == neither.entropy_nats
