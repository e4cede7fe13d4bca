"""What is gathered layer by layer, against transformers' attention weights on the same folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from worded_models import VOCAB, with_words

from llmkit.errors import UsageError
from llmkit.model.config import ModelConfig
from llmkit.probe.attention.region import region_of
from llmkit.workflows.inspect_attention.config import InspectText, InspectViews
from llmkit.workflows.inspect_attention.heads import Wanted, chosen_heads, look
from llmkit.workflows.inspect_attention.open import Inspected, InspectOptions, open_inspected
from llmkit.workflows.inspect_attention.text import Reading, read_text
from tests.model.recurrent.conftest import MAMBA, hybrid


@pytest.fixture
def opened(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Inspected:
    folder = with_words(tiny_model(vocab_size=VOCAB), byte_level_dir)
    return open_inspected(InspectOptions(model=folder))


@pytest.fixture
def reading(opened: Inspected) -> Reading:
    return read_text(opened, InspectText(given="the Licence and the Licence of the Work"))


def theirs(opened: Inspected, ids: Tensor) -> tuple[Tensor, ...]:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(opened.job.files.model, attn_implementation="eager")
    with torch.no_grad():
        return tuple(one[0] for one in model(ids[None], output_attentions=True).attentions)


def config_of(layers: int) -> ModelConfig:
    """Of a model with two heads in each of its layers."""
    return ModelConfig(
        **{"model_type": "llama", "vocab_size": 9, "hidden_size": 4, "intermediate_size": 4},
        **{"num_hidden_layers": layers, "num_attention_heads": 2, "max_position_embeddings": 8},
    )


def wanted(reading: Reading, **views: object) -> Wanted:
    asked = InspectViews(**views)  # type: ignore[arg-type]
    pictures = {"map": (99, 99)} if asked.map else {}
    whole = region_of(len(reading.ids), (None, None), (None, None))
    return Wanted(chosen_heads(asked, config_of(2)), asked, 7, asked.only_table, pictures, whole)


def test_figures_maps_and_rows_are_those_of_transformers(opened: Inspected, reading: Reading) -> None:
    weights = theirs(opened, reading.ids)
    for row in look(opened, reading, wanted(reading)).heads:
        A = weights[row.layer][row.head]
        assert row.sink == pytest.approx(float(A[:, 0].mean()), abs=1e-5)
        assert row.current_token == pytest.approx(float(A.diagonal().mean()), abs=1e-5)
        assert row.entropy_nats == pytest.approx(float(torch.special.entr(A).sum(-1).mean()), abs=1e-4)
        assert row.induction_stripe is None and row.class_scores["sink"] == row.sink
    seen = look(opened, reading, wanted(reading, map=True, query="7", heads=((1, 0),)))
    (one,) = seen.pictures["map"]
    torch.testing.assert_close(one.values.clamp(min=0), weights[1][0], atol=1e-5, rtol=0)
    (row,) = seen.query
    assert [key.position for key in row.keys] == list(range(8)) and row.null == 0.0
    assert [key.weight for key in row.keys] == pytest.approx(weights[1][0, 7, :8].tolist(), abs=1e-5)
    exp = torch.tensor([key.score for key in row.keys]).softmax(0)
    assert [key.weight for key in row.keys] == pytest.approx(exp.tolist(), abs=1e-5)
    assert seen.heads == [] and row.query.text == reading.tokens[7].text


def test_the_worked_example_adds_up(opened: Inspected, reading: Reading) -> None:
    one = look(opened, reading, wanted(reading, worked=True, heads=((1, 1),))).worked
    assert one is not None and len(one.keys) == 8
    for number, mixed in enumerate(one.mixed):
        assert mixed == pytest.approx(sum(key.weight * key.value[number] for key in one.keys), rel=1e-6)
    total = sum(key.exponential for key in one.keys)
    for key in one.keys:
        assert key.scaled == pytest.approx(key.product * one.scale)
        assert key.weight == pytest.approx(key.exponential / total)
    assert one.output_length > 0


def test_another_model_is_held_beside_it_and_itself_differs_by_nothing(
    opened: Inspected, reading: Reading
) -> None:
    seen = look(opened, reading, wanted(reading, diff=Path("other"), layers=(1,)), other=opened)
    assert [(one.layer, one.head) for one in seen.differences] == [(1, 0), (1, 1)]
    for one in seen.differences:
        assert one.js_nats < 1e-7
        assert (one.entropy_change_nats, one.sink_change, one.induction_change) == (0, 0, 0)


def test_the_probe_has_its_stripe(opened: Inspected) -> None:
    probe = read_text(opened, InspectText(probe="induction", probe_tokens=8))
    weights = theirs(opened, probe.ids)
    for row in look(opened, probe, wanted(probe)).heads:
        stripe = weights[row.layer][row.head].diagonal(offset=-7)[-8:].mean()  # of the second copy
        assert row.induction_stripe == pytest.approx(float(stripe), abs=1e-5)
        assert row.class_scores["induction"] == row.induction_stripe


def test_each_layer_is_handed_over_with_its_heads(opened: Inspected, reading: Reading) -> None:
    found = []
    look(
        opened,
        reading,
        wanted(reading, heads=((1, 0), (0, 1))),
        each=lambda layer, heads: found.append((layer.layer, heads)),
    )
    assert found == [(0, [1]), (1, [0])]


def test_heads_that_are_not_there_are_refused() -> None:
    assert chosen_heads(InspectViews(layers=(1,)), config_of(3)) == {1: [0, 1]}
    assert chosen_heads(InspectViews(heads=((2, 1), (0, 0)), layers=(0, 1)), config_of(3)) == {0: [0]}
    with pytest.raises(UsageError, match=r"no head 3\.0 \(found 3 layers of 2 heads\)"):
        chosen_heads(InspectViews(heads=((3, 0),)), config_of(3))
    with pytest.raises(UsageError, match="no layer 3"):
        chosen_heads(InspectViews(layers=(3,)), config_of(3))
    with pytest.raises(UsageError, match="nothing in common"):
        chosen_heads(InspectViews(heads=((2, 1),), layers=(0,)), config_of(3))
    with pytest.raises(UsageError, match=r"no head 0\.2"):
        chosen_heads(InspectViews(heads=((0, 2),)), config_of(3))


@pytest.mark.parametrize("views", [InspectViews(), InspectViews(heads=((0, 0),)), InspectViews(layers=(0,))])
def test_a_model_without_attention_is_told_to_have_none_whatever_is_asked(views: InspectViews) -> None:
    mamba = replace(MAMBA, layers=(0, 1, 2))
    with pytest.raises(UsageError, match="no layer of this model has attention") as refused:
        chosen_heads(views, hybrid("granitemoehybrid", mamba=mamba).config)
    assert "eval tokens" in refused.value.hint


def test_a_layer_without_heads_is_told_for_what_it_is() -> None:
    config = hybrid("nemotron_h").config
    for layer, what in ((0, "keeps a state"), (1, "is an MLP alone")):
        with pytest.raises(UsageError, match=f"layer {layer} {what}, and has no heads"):
            chosen_heads(InspectViews(layers=(layer,)), config)


def test_of_several_heads_only_the_strongest_keys_of_a_query_are_kept(
    opened: Inspected, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmkit.workflows.inspect_attention.heads.KEYS_OF_SEVERAL", 3)
    weights = theirs(opened, reading.ids)
    rows = look(opened, reading, wanted(reading, query="7")).query
    assert len(rows) == 4
    for row in rows:
        best = sorted(weights[row.layer][row.head, 7].topk(3).indices.tolist())
        assert [key.position for key in row.keys] == best
    (alone,) = look(opened, reading, wanted(reading, query="7", heads=((0, 0),))).query
    assert len(alone.keys) == 8
