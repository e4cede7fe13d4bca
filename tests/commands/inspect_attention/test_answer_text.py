"""Lens, ablation and attribution as people read them."""

from msgspec import structs
from worded_models import report_of

from llmkit.commands.inspect_attention.answer_text import ablation_lines, attribution_lines, lens_lines
from llmkit.workflows.inspect_attention.report import (
    AblationPart,
    AblationRow,
    AttributionPart,
    LensLayerRow,
    LensPart,
)

QUERY = report_of(["a", " b"]).tokens[1]
TARGET = {"query": QUERY, "target": "t", "target_id": 3}


def test_the_lens_says_when_the_answer_is_on_top_first_and_for_good() -> None:
    rows = [
        LensLayerRow(
            layers=n, rank=rank, probability=0.1, kl_nats=2.5, top=top, top_id=1, top_probability=0.5
        )
        for n, (rank, top) in enumerate([(1500, "x"), (1, "t"), (2, "\x1b"), (1, "t")])
    ]
    part = LensPart(query=QUERY, answer="t", answer_id=3, first_final=1, settled=3, layers=rows)
    lines = lens_lines(part)
    assert lines[0] == "after token 1 ' b': 't' by layer"
    assert lines[2].split() == ["0", "1,500", "0.1000", "2.500", "'x'", "0.500"]
    assert "first after 1, and stays there from 3" in lines[-1] and "\x1b" not in "".join(lines)


def test_ablations_come_with_the_largest_first() -> None:
    change = {"logit_change": -0.5, "probability_change": 0.25}
    heads = [
        AblationRow(layer=0, head=1, loss_change_nats=None, kl_nats=0.1, **change),
        AblationRow(layer=2, head=0, loss_change_nats=0.01, kl_nats=0.3, **change),
    ]
    lines = ablation_lines(AblationPart(by="mean", heads=heads, **TARGET))
    assert "put to mean" in lines[0] and "'t' after token 1" in lines[1]
    assert lines[3].split() == ["2.0", "+0.0100", "0.3000", "-0.500", "+0.2500"]
    assert lines[4].split() == ["0.1", "0.1000", "-0.500", "+0.2500"]  # one token has no loss


def test_an_attribution_ends_with_its_sum_and_small_heads_are_put_together() -> None:
    heads = [[0.01] * 15, [-2.0, *[0.02] * 14]]
    part = AttributionPart(
        **{
            "logit": 3.0,
            "embedding": 1.0,
            "heads": heads,
            "attention_biases": [0.0, 0.5],
            "mlps": [0.1, 0.2],
        },
        **{"bias": 0.25, "total": 3.0},
        **TARGET,
    )
    rows = {line.rsplit(maxsplit=1)[0].strip(): line.split()[-1] for line in attribution_lines(part)[1:]}
    assert list(rows)[:2] == ["embedding", "head 1.0"] and rows["head 1.0"] == "-2.0000"
    assert rows["10 other heads"] == "+0.1000"
    assert (rows["MLP 1"], rows["biases"], rows["sum"]) == ("+0.2000", "+0.7500", "+3.0000")
    capped = attribution_lines(structs.replace(part, capped_logit=1.5))
    assert capped[1] == "  which the model caps softly, to +1.5000"
    assert [capped[0], *capped[2:]] == attribution_lines(part)
