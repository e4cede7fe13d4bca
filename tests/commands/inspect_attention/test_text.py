"""The report of inspect-attention as people read it."""

from typing import Any

from worded_models import head_row, report_of

from llmkit.commands.inspect_attention.text import (
    difference_lines,
    expected_line,
    heads_lines,
    inspect_text,
    query_lines,
    worked_lines,
)
from llmkit.workflows.inspect_attention.report import (
    DifferencePart,
    DifferenceRow,
    ExpectRow,
    Key,
    MapPart,
    QueryPart,
    WorkedKey,
    WorkedPart,
)

REPORT = report_of(["Once", " upon", " a"])
QUERY = REPORT.tokens[2]
KEYS = [
    Key(position=0, text="Once", weight=0.5, score=1.0),
    Key(position=1, text=" upon", weight=0.1, score=-1.0),
    Key(position=2, text=" a", weight=0.4, score=0.75),
]


def row_of(layer: int, head: int, null: float = 0.0) -> QueryPart:
    return QueryPart(layer=layer, head=head, query=QUERY, null=null, keys=KEYS)


def test_the_table_of_heads_has_their_classes_and_induction_of_the_probe_where_there_is_one() -> None:
    lines = heads_lines([head_row(0, 1, classes=["sink", "previous_token"])])
    assert lines[1].split()[:8] == ["0.1", "1.00", "2.0", "3.0", "0.10", "0.13", "0.14", "0.15"]
    assert lines[1].endswith("sink, previous token") and max(map(len, lines)) <= 90
    probed = heads_lines([head_row(0, 1, induction_stripe=0.77)])
    assert "0.77" in probed[1] and "probe's stripe" in " ".join(probed) and "probe" not in " ".join(lines)


def test_one_head_of_a_query_is_its_text_and_a_table() -> None:
    lines = query_lines([row_of(1, 2, null=0.25)], scores=False, color=False, width=80)
    assert lines[0] == "token 2 ' a' looks at, head 1.2" and lines[2] == "{Once}{ upon}{ a}"
    assert [line.split()[0] for line in lines[5:8]] == ["0", "2", "1"] and lines[-1] == "  learnt sink 0.2500"
    assert lines[5].split() == ["0", "'Once'", "+1.000", "0.5000"]


def test_several_heads_of_a_query_are_their_strongest_keys() -> None:
    lines = query_lines([row_of(1, 2), row_of(1, 3)], scores=False, color=False, width=80)
    assert lines[1] == "  1.2  'Once' 0 0.50  ' a' 2 0.40  ' upon' 1 0.10"
    by_score = query_lines([row_of(1, 2), row_of(1, 3)], scores=True, color=False, width=80)
    assert "'Once' 0 +1.00  ' a' 2 +0.75" in by_score[1]


def worked(**changes: Any) -> WorkedPart:
    numbers = [(2.0, 1.0, 1.0, 1.0, 0.625, [1.0, 2.0]), (0.0, 0.0, 0.0, 0.6, 0.375, [3.0, 4.0])]
    keys = [
        WorkedKey(token=token, product=a, scaled=b, capped=c, exponential=d, weight=e, value=v)
        for token, (a, b, c, d, e, v) in zip(REPORT.tokens, numbers, strict=False)
    ]
    given = {
        **{
            "layer": 0,
            "head": 1,
            "query": QUERY,
            "q": [0.5, -1.0],
            "scale": 0.5,
            "softcap": None,
            "sink": None,
        },
        **{"sink_exponential": 0.0, "null": 0.0, "keys": keys, "mixed": [1.75, 2.75], "output_length": 0.3},
    }
    return WorkedPart(**given | changes)


def test_the_worked_example_shows_numbers_that_a_reader_can_add_up() -> None:
    lines = worked_lines(worked())
    table = [line.split() for line in lines if line.startswith("  ")]
    head = next(row for row in table if row[:2] == ["key", "token"])
    assert head == ["key", "token", "q.k", "scaled", "exp", "weight", "v[0]", "v[1]"]
    at = table.index(head)
    assert table[at + 1] == ["0", "'Once'", "2.0000", "1.0000", "1.0000", "0.6250", "1.0000", "2.0000"]
    assert table[at + 3] == ["sum", "1.6000", "1.0000", "1.7500", "2.7500"]
    first, second, total = ([float(one) for one in row[-4:]] for row in table[at + 1 : at + 4])
    for column in (2, 3):
        assert abs(first[1] * first[column] + second[1] * second[column] - total[column]) < 1e-9
    assert first[0] + second[0] == total[0] and "length 0.3000" in lines[-1]


def test_a_cap_and_a_learnt_sink_have_their_columns_and_rows() -> None:
    lines = worked_lines(worked(softcap=30.0, sink=0.5, sink_exponential=0.4, null=0.2))
    text = "\n".join(lines)
    assert "capped: 30 tanh(scaled / 30)" in text and "q.k  scaled  capped" in text
    assert [line.split()[2:4] for line in lines if "learnt sink" in line] == [["0.4000", "0.2000"]]
    assert [line.split()[1] for line in lines if " sum " in line and "below" not in line] == ["2.0000"]


def test_differences_come_with_the_largest_first_and_expectations_with_their_heads() -> None:
    change = {"entropy_change_nats": 0.5, "sink_change": -0.25, "induction_change": 0.0}
    part = DifferencePart(
        other="o",
        heads=[
            DifferenceRow(layer=0, head=0, js_nats=0.1, **change),
            DifferenceRow(layer=1, head=0, js_nats=0.2, **change),
        ],
    )
    assert [line.split()[0] for line in difference_lines(part)[2:]] == ["1.0", "0.0"]
    met = ExpectRow(expected="previous_token", threshold=0.4, best=0.9, heads=[[1, 0], [2, 3]])
    assert expected_line(met) == "previous token from 0.4 on: 1.0, 2.3 (best 0.90)"
    none = ExpectRow(expected="sink", threshold=0.3, best=0.1, heads=[])
    assert expected_line(none) == "sink from 0.3 on: no head (best 0.10)"


def test_the_heads_are_a_table_only_where_nothing_else_was_asked_for() -> None:
    heads = [head_row()]
    alone = inspect_text(report_of(["a"], heads=heads), width=80, color=False)
    assert alone.startswith("m: 1 token, 2 layers of 2 heads\n\nhead  entropy")
    part = MapPart(layer=0, head=1, rows=[0, 1], cols=[0, 1], values=[[1.0]])
    drawn = inspect_text(report_of(["a"], heads=heads, maps=[part], adapter="ad"), width=80, color=False)
    assert "entropy" not in drawn and "layer 0 head 1\n" in drawn and drawn.startswith("m with ad: ")
    assert "weight, by its root" in drawn
